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

-- name: q10
SELECT bid.auction, bid.bidder, bid.price, bid."dateTime", bid.extra, strftime(bid."dateTime", 'dt=%Y-%m-%d/hm=%H:%M')
FROM events
WHERE event_type = 2;

-- name: q14
SELECT auction, bidder, euro,
  CASE WHEN h BETWEEN 8 AND 18 THEN 'dayTime' WHEN h IN (7, 19) THEN 'otherTime' ELSE 'nightTime' END,
  "dateTime", extra, length(regexp_replace(extra, '[^c]', '', 'g'))
FROM (
  SELECT bid.*, CAST(0.908 * bid.price AS DECIMAL(23, 3)) AS euro, hour(bid."dateTime") AS h
  FROM events
  WHERE event_type = 2
)
WHERE euro > 1000000 AND euro < 50000000;

-- name: q21
SELECT *
FROM (
  SELECT bid.auction, bid.bidder, bid.price, bid.channel,
    COALESCE(map {'apple': '0', 'google': '1', 'facebook': '2', 'baidu': '3'}[lower(bid.channel)],
      list_extract(regexp_extract_all(bid.url, '(?:&|^)channel_id=([^&]*)', 1), 1)) AS channel_id
  FROM events
  WHERE event_type = 2
)
WHERE channel_id IS NOT NULL;

-- name: q22
SELECT bid.auction, bid.bidder, bid.price, bid.channel, parts[4], parts[5], parts[6]
FROM (SELECT bid, string_split(bid.url, '/') AS parts FROM events WHERE event_type = 2);

-- name: qt
SELECT bid.auction, COUNT(*) AS num, starttime, starttime + INTERVAL 10 SECOND AS endtime
FROM (
  SELECT bid, time_bucket(INTERVAL 10 SECOND, bid."dateTime", TIMESTAMP '1970-01-01') AS starttime
  FROM events
  WHERE event_type = 2
)
GROUP BY bid.auction, starttime;

-- name: q5
WITH counts AS (
  SELECT auction, starttime, COUNT(*) AS num
  FROM (
    SELECT bid.auction AS auction,
      UNNEST([time_bucket(INTERVAL 2 SECOND, bid."dateTime", TIMESTAMP '1970-01-01') - k * INTERVAL 2 SECOND
        FOR k IN range(5)]) AS starttime
    FROM events
    WHERE event_type = 2
  )
  GROUP BY auction, starttime
)
SELECT auction, num
FROM counts
QUALIFY RANK() OVER (PARTITION BY starttime ORDER BY num DESC) = 1;

-- name: q7
SELECT bid.auction, bid.bidder, bid.price, bid."dateTime", bid.extra
FROM events
WHERE event_type = 2
QUALIFY RANK() OVER (
  PARTITION BY time_bucket(INTERVAL 10 SECOND, bid."dateTime", TIMESTAMP '1970-01-01') ORDER BY bid.price DESC) = 1;

-- name: q11
SELECT bidder, COUNT(*) AS bid_count, MIN(made) AS starttime, MAX(made) + INTERVAL 10 SECOND AS endtime
FROM (
  SELECT bidder, made, COUNT(*) FILTER (apart) OVER (PARTITION BY bidder ORDER BY made) AS session
  FROM (
    SELECT bid.bidder AS bidder, bid."dateTime" AS made,
      made - LAG(made) OVER (PARTITION BY bid.bidder ORDER BY bid."dateTime") > INTERVAL 10 SECOND AS apart
    FROM events
    WHERE event_type = 2
  )
)
GROUP BY bidder, session;

-- name: q15
SELECT strftime(bid."dateTime", '%Y-%m-%d') AS day, COUNT(*),
  COUNT(*) FILTER (bid.price < 10000),
  COUNT(*) FILTER (bid.price >= 10000 AND bid.price < 1000000),
  COUNT(*) FILTER (bid.price >= 1000000),
  COUNT(DISTINCT bid.bidder),
  COUNT(DISTINCT bid.bidder) FILTER (bid.price < 10000),
  COUNT(DISTINCT bid.bidder) FILTER (bid.price >= 10000 AND bid.price < 1000000),
  COUNT(DISTINCT bid.bidder) FILTER (bid.price >= 1000000),
  COUNT(DISTINCT bid.auction),
  COUNT(DISTINCT bid.auction) FILTER (bid.price < 10000),
  COUNT(DISTINCT bid.auction) FILTER (bid.price >= 10000 AND bid.price < 1000000),
  COUNT(DISTINCT bid.auction) FILTER (bid.price >= 1000000)
FROM events
WHERE event_type = 2
GROUP BY day;

-- name: q16
SELECT bid.channel, strftime(bid."dateTime", '%Y-%m-%d') AS day, MAX(strftime(bid."dateTime", '%H:%M')), COUNT(*),
  COUNT(*) FILTER (bid.price < 10000),
  COUNT(*) FILTER (bid.price >= 10000 AND bid.price < 1000000),
  COUNT(*) FILTER (bid.price >= 1000000),
  COUNT(DISTINCT bid.bidder),
  COUNT(DISTINCT bid.bidder) FILTER (bid.price < 10000),
  COUNT(DISTINCT bid.bidder) FILTER (bid.price >= 10000 AND bid.price < 1000000),
  COUNT(DISTINCT bid.bidder) FILTER (bid.price >= 1000000),
  COUNT(DISTINCT bid.auction),
  COUNT(DISTINCT bid.auction) FILTER (bid.price < 10000),
  COUNT(DISTINCT bid.auction) FILTER (bid.price >= 10000 AND bid.price < 1000000),
  COUNT(DISTINCT bid.auction) FILTER (bid.price >= 1000000)
FROM events
WHERE event_type = 2
GROUP BY bid.channel, day;

-- name: q17
SELECT bid.auction, strftime(bid."dateTime", '%Y-%m-%d') AS day, COUNT(*),
  COUNT(*) FILTER (bid.price < 10000),
  COUNT(*) FILTER (bid.price >= 10000 AND bid.price < 1000000),
  COUNT(*) FILTER (bid.price >= 1000000),
  MIN(bid.price), MAX(bid.price), SUM(bid.price) // COUNT(bid.price), SUM(bid.price)
FROM events
WHERE event_type = 2
GROUP BY bid.auction, day;

-- name: q18
SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, bid."dateTime", bid.extra
FROM (SELECT bid, row_number() OVER () AS arrival FROM events WHERE event_type = 2)
QUALIFY row_number() OVER (PARTITION BY bid.bidder, bid.auction ORDER BY bid."dateTime" DESC, arrival DESC) = 1;

-- name: q19
SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, bid."dateTime", bid.extra,
  row_number() OVER (PARTITION BY bid.auction ORDER BY bid.price DESC, arrival) AS place
FROM (SELECT bid, row_number() OVER () AS arrival FROM events WHERE event_type = 2)
QUALIFY place <= 10;
