-- Suppliers, and a user who can read them and nothing else.
CREATE TABLE suppliers (id integer PRIMARY KEY, company text NOT NULL, email text);
INSERT INTO suppliers VALUES (1, 'Fern & Co', 'hello@fern.example'), (2, 'Acme', NULL), (3, 'Zeta', 'z@zeta.example');
CREATE ROLE reader LOGIN PASSWORD 'reader';
GRANT CONNECT ON DATABASE shop TO reader;
GRANT USAGE ON SCHEMA public TO reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader;
