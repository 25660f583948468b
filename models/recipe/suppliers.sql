CREATE TABLE suppliers (id integer PRIMARY KEY, company text NOT NULL, email text NOT NULL);
INSERT INTO suppliers VALUES
(1, 'Nunc Ac Sem Incorporated', 'nec@imperdietdictum.org'),
(4, 'Tortor Inc.', 'Mauris@ac.com'),
(7, 'Justo Eu Arcu Inc.', 'id.risus@luctuslobortisClass.net'),
(9, 'Quisque Purus Sapien Limited', 'Cras@consectetuercursuset.co.uk'),
(12, 'Nobody''s Supplier', 'none@example.com');
