-- The queries of Nexmark that tests/reference/flink.sql has not, in the same form.

-- name: q0 (auction BIGINT, bidder BIGINT, price BIGINT, `dateTime` TIMESTAMP(3), extra STRING)
SELECT auction, bidder, price, `dateTime`, extra FROM bid;

-- name: q1 (auction BIGINT, bidder BIGINT, price DECIMAL(23, 3), `dateTime` TIMESTAMP(3), extra STRING)
SELECT auction, bidder, 0.908 * price, `dateTime`, extra FROM bid;

-- name: q2 (auction BIGINT, price BIGINT)
SELECT auction, price FROM bid WHERE MOD(auction, 123) = 0;
