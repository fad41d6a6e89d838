-- The same queries for DuckDB, in batch and so without lateness: a second opinion on events in order.
-- Each is preceded by its name; `events` is made by duckdb_reference.py.

-- name: q0
SELECT bid.auction, bid.bidder, bid.price, bid."dateTime", bid.extra
FROM events
WHERE event_type = 2;

-- name: q1
SELECT bid.auction, bid.bidder, CAST(0.908 * bid.price AS DECIMAL(23, 3)) AS price, bid."dateTime", bid.extra
FROM events
WHERE event_type = 2;

-- name: q2
SELECT bid.auction, bid.price
FROM events
WHERE event_type = 2 AND bid.auction % 123 = 0;

-- name: qt
SELECT bid.auction, COUNT(*) AS num, starttime, starttime + INTERVAL 10 SECOND AS endtime
FROM (
  SELECT bid, time_bucket(INTERVAL 10 SECOND, bid."dateTime", TIMESTAMP '1970-01-01') AS starttime
  FROM events
  WHERE event_type = 2
)
GROUP BY bid.auction, starttime;
