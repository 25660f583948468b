-- Clients and stores lie in cities, orders belong to both; the same text runs on PostgreSQL and on MariaDB.
CREATE TABLE cities (id int PRIMARY KEY, name varchar(40), country varchar(40), people int);
CREATE TABLE clients (id int PRIMARY KEY, name varchar(40), city_id int, budget numeric(10,2));
CREATE TABLE stores (id int PRIMARY KEY, name varchar(40), city_id int);
CREATE TABLE orders (id int PRIMARY KEY, client_id int, store_id int, amount numeric(10,2), status varchar(40), created_at timestamp NOT NULL DEFAULT '2025-01-01 00:00:00');
CREATE TABLE items (id int PRIMARY KEY, order_id int, qty int, category varchar(40));
CREATE TABLE visits (id int PRIMARY KEY, client_id int, minutes int);
CREATE TABLE days (day date PRIMARY KEY, fiscal_month date, fiscal_year date, season varchar(40));
INSERT INTO cities VALUES (1, 'Oslo', 'Norway', 700), (2, 'Bergen', 'Norway', 290), (3, 'Malmo', 'Sweden', 350), (4, 'Turku', 'Finland', 200);
INSERT INTO clients VALUES (1, 'Ann', 1, 150), (2, 'Bo', 1, 60), (3, 'Cy', 2, 100), (4, 'Di', NULL, NULL), (5, 'Ed', 3, 10);
INSERT INTO stores VALUES (1, 'North', 2), (2, 'South', 3), (3, 'East', NULL);
INSERT INTO orders VALUES
    (1, 1, 1, 100, 'paid', '2025-01-15 08:00:00'), (2, 1, 2, 50, 'open', '2025-01-31 23:30:00'), (3, 2, 1, 30, 'paid', '2025-02-01 00:30:00'),
    (4, 3, 2, 70, 'open', '2025-03-30 01:30:00'), (5, 3, 3, 20.50, 'paid', '2025-03-30 22:30:00'), (6, NULL, 1, 5, 'paid', '2025-06-30 22:15:00'),
    (7, 5, NULL, NULL, 'open', '2025-12-31 23:59:59'), (8, 1, 1, 40, 'paid', '2026-02-03 12:00:00');
INSERT INTO items VALUES (1, 1, 1, 'a'), (2, 1, 2, 'a'), (3, 1, 5, 'b'), (4, 2, 1, 'a'), (5, 3, 3, 'b'), (6, 5, 4, NULL), (7, 8, 2, 'a');
INSERT INTO visits VALUES (1, 1, 10), (2, 1, 20), (3, 2, 5), (4, 4, 60), (5, 4, NULL);
-- Fiscal months begin on the 16th.
INSERT INTO days VALUES
    ('2025-01-15', '2024-12-16', '2024-04-01', 'winter'), ('2025-01-31', '2025-01-16', '2024-04-01', 'winter'), ('2025-02-01', '2025-01-16', '2024-04-01', 'winter'),
    ('2025-03-30', '2025-03-16', '2024-04-01', 'spring'), ('2025-06-30', '2025-06-16', '2025-04-01', 'summer'), ('2025-12-31', '2025-12-16', '2025-04-01', NULL),
    ('2026-02-03', '2026-01-16', '2025-04-01', 'winter');
