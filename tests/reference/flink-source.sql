-- The events in the nested form, their persons, auctions and bids, and the table of q13. The watermark is that of all
-- events. `${INPUT}` is the file of events, `${TABLE}` that of the table.

CREATE TEMPORARY TABLE events (
  event_type INT,
  person ROW<id BIGINT, name STRING, emailAddress STRING, creditCard STRING, city STRING, state STRING, `dateTime` TIMESTAMP(3), extra STRING>,
  auction ROW<id BIGINT, itemName STRING, description STRING, initialBid BIGINT, reserve BIGINT, `dateTime` TIMESTAMP(3), expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra STRING>,
  bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, `dateTime` TIMESTAMP(3), extra STRING>,
  event_time AS COALESCE(bid.`dateTime`, auction.`dateTime`, person.`dateTime`),
  WATERMARK FOR event_time AS event_time - INTERVAL '4' SECOND
) WITH (
  'connector' = 'filesystem',
  'path' = '${INPUT}',
  'format' = 'json',
  'json.timestamp-format.standard' = 'ISO-8601'
);

CREATE TEMPORARY VIEW bid AS
SELECT bid.auction AS auction, bid.bidder AS bidder, bid.price AS price, bid.channel AS channel, bid.url AS url,
  event_time AS `dateTime`, bid.extra AS extra
FROM events
WHERE event_type = 2;

CREATE TEMPORARY VIEW auction AS
SELECT auction.id AS id, auction.itemName AS itemName, auction.description AS description, auction.initialBid AS initialBid,
  auction.reserve AS reserve, event_time AS `dateTime`, auction.expires AS expires, auction.seller AS seller,
  auction.category AS category, auction.extra AS extra
FROM events
WHERE event_type = 1;

CREATE TEMPORARY VIEW person AS
SELECT person.id AS id, person.name AS name, person.emailAddress AS emailAddress, person.creditCard AS creditCard,
  person.city AS city, person.state AS state, event_time AS `dateTime`, person.extra AS extra
FROM events
WHERE event_type = 0;

-- Its first line names the columns: it has no number where the key is, so that its key is NULL and equal to no other.
CREATE TEMPORARY TABLE side (
  `key` BIGINT,
  `value` STRING
) WITH (
  'connector' = 'filesystem',
  'path' = '${TABLE}',
  'format' = 'csv',
  'csv.ignore-parse-errors' = 'true'
);
