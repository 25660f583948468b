-- Small tables whose joins repeat rows; the same text runs on PostgreSQL and on MariaDB.
CREATE TABLE customers (id int PRIMARY KEY, name varchar(40), city varchar(40), credit numeric(10,2));
CREATE TABLE orders (id int PRIMARY KEY, customer_id int, amount numeric(10,2), status varchar(40), created_at timestamp NOT NULL DEFAULT '2025-01-01 00:00:00');
CREATE TABLE items (id int PRIMARY KEY, order_id int, qty int, category varchar(40));
INSERT INTO customers VALUES (1, 'Ann', 'Oslo', 10), (2, 'Bo', 'Oslo', 20);
INSERT INTO orders (id, customer_id, amount, status) VALUES (11, 1, 100, 'paid'), (12, 1, 50, 'open'), (13, 2, 30, 'paid');
INSERT INTO items VALUES (1, 11, 1, 'a'), (2, 11, 2, 'a'), (3, 11, 5, 'b'), (4, 12, 1, 'a');

-- Two customers buy several books of several authors: a bridge, a composite key, and rows that nothing refers to.
CREATE TABLE authors (country varchar(40), number int, name varchar(40), born int, PRIMARY KEY (country, number));
CREATE TABLE books (id int PRIMARY KEY, title varchar(40), price numeric(10,2));
CREATE TABLE writings (id int PRIMARY KEY, country varchar(40), number int, book_id int, share int);
INSERT INTO authors VALUES ('no', 1, 'Nils', 1950), ('no', 2, 'Kari', 1960), ('se', 1, 'Sven', 1950), ('se', 9, 'Ulla', 1980);
INSERT INTO books VALUES (1, 'Fjord', 10.50), (2, 'Skog', 20), (3, 'Hav', NULL), (4, 'Alene', 7);
INSERT INTO writings VALUES (1, 'no', 1, 1, 60), (2, 'no', 2, 1, 40), (3, 'no', 1, 2, 100), (4, 'se', 1, 3, 50), (5, 'no', 1, 3, 50), (6, NULL, NULL, 4, 100), (7, 'se', 1, NULL, 10);

-- Facts that share customers and dates.
CREATE TABLE buyers (id int PRIMARY KEY, name varchar(40), city varchar(40));
CREATE TABLE dates (date date PRIMARY KEY);
CREATE TABLE purchases (id int PRIMARY KEY, customer_id int, amount numeric(10,2), created_at timestamp NOT NULL DEFAULT '2025-01-01 00:00:00');
CREATE TABLE returns (id int PRIMARY KEY, customer_id int, refund_amount numeric(10,2), created_at timestamp NOT NULL DEFAULT '2025-01-01 00:00:00');
INSERT INTO buyers VALUES (1, 'Alice', 'New York'), (2, 'Bob', 'Seattle'), (3, 'Charlie', 'New York'), (4, 'Diana', 'Boston'), (5, 'Eve', 'Boston');
INSERT INTO dates VALUES ('2025-01-15'), ('2025-01-20'), ('2025-02-05'), ('2025-02-10'), ('2025-03-01'), ('2025-03-02');
INSERT INTO purchases VALUES
    (1, 1, 120, '2025-01-15 08:00:00'), (2, 1, 80, '2025-01-15 19:30:00'), (3, 1, 200, '2025-02-10 12:00:00'), (4, 1, 25, '2025-02-10 12:00:01'),
    (5, 2, 100, '2025-01-20 00:00:00'), (6, 2, 200, '2025-01-20 10:00:00'), (7, 2, 250, '2025-01-20 23:59:59'), (8, 4, 400, '2025-03-01 09:00:00');
INSERT INTO returns VALUES
    (1, 1, 100, '2025-02-10 15:00:00'), (2, 2, 50, '2025-01-20 12:00:00'), (3, 2, 80, '2025-01-20 13:00:00'), (4, 3, 30, '2025-02-05 08:00:00'), (5, 3, 70, '2025-02-05 09:00:00');

-- The smaller variations: facts by customer alone.
CREATE TABLE people (id int PRIMARY KEY, name varchar(40));
CREATE TABLE sales (id int PRIMARY KEY, person_id int, amount int, status varchar(40));
CREATE TABLE refunds (id int PRIMARY KEY, person_id int, amount int);
CREATE TABLE reviews (id int PRIMARY KEY, person_id int, stars int);
CREATE TABLE losses (id int PRIMARY KEY, amount int);
INSERT INTO people VALUES (1, 'Alice'), (2, 'Bob'), (3, 'Charlie');
INSERT INTO sales VALUES (1, 1, 100, 'completed'), (2, 1, 200, 'open'), (3, 2, 50, 'open');
INSERT INTO refunds VALUES (1, 1, 30), (2, 3, 70);
INSERT INTO reviews VALUES (1, 1, 5), (2, 1, 4), (3, 2, 1), (4, NULL, 3);
INSERT INTO losses VALUES (1, 5), (2, 6);

-- Facts over time: months without rows, times that another zone has on another day, rows without a time, a shop or a buyer.
CREATE TABLE shops (id int PRIMARY KEY, name varchar(40), region varchar(40));
CREATE TABLE deals (id int PRIMARY KEY, shop_id int, happened_at timestamp NULL, day date, amount numeric(10,2), status varchar(40), buyer varchar(40));
CREATE TABLE deal_lines (id int PRIMARY KEY, deal_id int, sku varchar(40), pieces int);
CREATE TABLE visits (id int PRIMARY KEY, shop_id int, visited_at timestamp NULL, people int);
INSERT INTO shops VALUES (1, 'Nord', 'north'), (2, 'Sud', 'south'), (3, 'Drift', NULL), (4, 'Leer', 'south');
INSERT INTO deals VALUES
    (1, 1, '2023-12-30 10:00:00', '2023-12-30', 10, 'paid', 'ann'), (2, 1, '2024-01-05 09:00:00', '2024-01-05', 20, 'paid', 'bo'),
    (3, 2, '2024-01-31 23:30:00', '2024-01-31', 5, 'open', 'ann'), (4, 1, '2024-02-10 12:00:00', '2024-02-10', 7.50, 'paid', 'cy'),
    (5, NULL, '2024-02-29 23:59:59', '2024-02-29', 3, 'open', NULL), (6, 2, '2024-04-02 08:00:00', '2024-04-02', 40, 'paid', 'ann'),
    (7, 1, '2024-04-20 08:00:00', '2024-04-20', NULL, 'paid', 'bo'), (8, 3, '2024-05-01 00:00:00', '2024-05-01', 2, NULL, 'ann'),
    (9, 1, '2024-10-26 22:30:00', '2024-10-26', 1, 'paid', 'dee'), (10, 2, '2024-10-27 23:30:00', '2024-10-27', 2.25, 'paid', 'dee'),
    (11, 1, '2025-01-10 10:00:00', '2025-01-10', 11, 'paid', 'bo'), (12, 1, NULL, NULL, 100, 'paid', 'zed'),
    (13, 1, '2024-01-05 09:00:00', '2024-01-05', 1, 'open', 'bo');
INSERT INTO deal_lines VALUES (1, 2, 'a', 1), (2, 2, 'b', 2), (3, 4, 'a', 1), (4, 6, 'a', 3), (5, 6, 'a', 4), (6, 6, 'c', 1), (7, 13, 'b', 5);
INSERT INTO visits VALUES
    (1, 1, '2024-01-03 10:00:00', 4), (2, 2, '2024-02-03 10:00:00', 5), (3, 1, '2024-03-04 10:00:00', 6), (4, 2, '2024-04-04 10:00:00', 7),
    (5, NULL, '2024-04-30 23:45:00', 8), (6, 4, '2024-06-01 10:00:00', 9);
