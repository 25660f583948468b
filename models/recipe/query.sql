SELECT name, company, email FROM ProductSuppliers GROUP BY 1, 2, 3 ORDER BY name LIMIT 3;
