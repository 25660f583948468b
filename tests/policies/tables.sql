CREATE TABLE customers (id integer PRIMARY KEY, name varchar(40), email varchar(40), city varchar(40), tier integer);
INSERT INTO customers VALUES
  (1, 'Ada', 'ada@eu', 'Oslo', 1), (2, 'Bob', 'bob@us', 'Boston', 2), (3, 'Cyd', NULL, 'Oslo', NULL), (4, 'Dan', 'dan@us', NULL, 1);
CREATE TABLE orders (id integer PRIMARY KEY, customer_id integer, region varchar(40), status varchar(40), amount integer, code varchar(40), created_at timestamp NULL);
INSERT INTO orders VALUES
  (1, 1, 'EU', 'paid', 10, '100', '2024-01-31 22:30:00'),
  (2, 1, 'EU', 'open', 20, '200', '2024-02-01 00:00:00'),
  (3, 2, 'US', 'paid', 7, 'SECRET', '2024-02-10 12:00:00'),
  (4, 2, 'US', 'open', 40, '400', '2024-03-01 08:00:00'),
  (5, 3, 'EU', 'paid', 50, '500', NULL),
  (6, 4, 'eu', 'paid', 60, '600', '2024-02-29 23:59:59'),
  (7, NULL, NULL, 'open', 70, NULL, '2024-02-15 10:00:00');
CREATE TABLE refunds (id integer PRIMARY KEY, customer_id integer, region varchar(40), amount integer);
INSERT INTO refunds VALUES (1, 1, 'EU', 3), (2, 2, 'US', 4), (3, 4, 'EU', 5), (4, 3, 'EU', NULL);
CREATE TABLE plain (id integer PRIMARY KEY, label varchar(40));
INSERT INTO plain VALUES (1, 'one'), (2, 'two');
