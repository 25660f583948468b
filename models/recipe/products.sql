CREATE TABLE products (id int PRIMARY KEY, name varchar(200) NOT NULL, supplier_id int) CHARACTER SET utf8mb4;
INSERT INTO products VALUES
(1, 'Unbranded Wooden Chair', 1),
(2, 'Awesome Rubber Soap', 4),
(3, 'Practical Steel Shoes', 7),
(4, 'Awesome Fresh Keyboard', 9),
(5, 'Awesome Wooden Table', 1),
(6, 'Awesome Cotton Sausages', 7),
(7, 'Rustic Granite Hat', NULL);
