-- Products, and a user who can read them and nothing else.
CREATE TABLE products (id int PRIMARY KEY, name varchar(100) NOT NULL, supplier_id int, price decimal(10,2) NOT NULL);
INSERT INTO products VALUES (1, 'Anvil', 2, 99.90), (2, 'Basket', 1, 12.50), (3, 'Candle', 1, 3.20), (4, 'Drum', 3, 250.00);
CREATE USER reader IDENTIFIED BY 'reader';
GRANT SELECT ON shop.* TO reader;
