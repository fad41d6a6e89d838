-- The query of Nexmark whose rows are the clock's, so that tests/reference/flink.sql has not got it, in the same form.

-- name: q12 (bidder BIGINT, bid_count BIGINT, starttime TIMESTAMP(3), endtime TIMESTAMP(3))
WITH clocked AS (SELECT bidder, PROCTIME() AS arrived FROM bid)
SELECT bidder, COUNT(*), window_start, window_end
FROM TABLE(TUMBLE(TABLE clocked, DESCRIPTOR(arrived), INTERVAL '10' SECOND))
GROUP BY bidder, window_start, window_end;
