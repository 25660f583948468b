//! A model, its data and one query, in one text file that is replayed by every run.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use crate::AnyError;

/// Sections begin with a line `=== NAME`; what comes before the first is a note to the reader.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Case {
    pub note: String,
    pub model: String,
    /// All tables, for the references and for a source that is PostgreSQL.
    pub tables: String,
    /// What the references need beside the tables.
    pub views: String,
    /// The tables of the data source `maria`, if there is one.
    pub mariadb: String,
    /// Names and contents of the files of the data source `files`, if there is one.
    pub files: Vec<(String, String)>,
    /// Lines of the config for the columns of the files.
    pub columns: Vec<String>,
    /// Lines of the config that say how rollups are kept.
    pub config: String,
    /// Run by us before the query.
    pub settings: String,
    /// Whether the rows are compared in order.
    pub ordered: bool,
    pub query: String,
    /// Any of these may be the answer; with none, the query must be refused.
    pub references: Vec<String>,
}

impl Case {
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.note.trim_end());
        let mut section = |name: &str, content: &str| {
            if !content.is_empty() {
                let _ = writeln!(text, "=== {name}\n{}", content.trim_end());
            }
        };
        section("model", &self.model);
        section("tables", &self.tables);
        section("views", &self.views);
        section("mariadb", &self.mariadb);
        for (name, content) in &self.files {
            section(&format!("file {name}"), content);
        }
        section("columns", &self.columns.join("\n"));
        section("config", &self.config);
        section("settings", &self.settings);
        section(if self.ordered { "ordered query" } else { "query" }, &self.query);
        for reference in &self.references {
            section("reference", reference);
        }
        text
    }

    /// # Errors
    /// A section that is none of ours.
    pub fn parse(text: &str) -> Result<Self, AnyError> {
        let mut case = Self::default();
        let mut parts = text.split("\n=== ");
        parts.next().unwrap_or_default().clone_into(&mut case.note);
        for part in parts {
            let (name, content) = part.split_once('\n').ok_or("a section without content")?;
            let content = format!("{}\n", content.trim_end());
            match name {
                "model" => case.model = content,
                "tables" => case.tables = content,
                "views" => case.views = content,
                "settings" => case.settings = content,
                "config" => case.config = content,
                "mariadb" => case.mariadb = content,
                "columns" => case.columns = content.lines().map(str::to_owned).collect(),
                "query" => case.query = content.trim_end().to_owned(),
                "ordered query" => (case.query, case.ordered) = (content.trim_end().to_owned(), true),
                "reference" => case.references.push(content.trim_end().to_owned()),
                file => {
                    let name = file.strip_prefix("file ").ok_or_else(|| format!("unknown section {file:?}"))?;
                    case.files.push((name.to_owned(), content));
                }
            }
        }
        Ok(case)
    }

    /// The kept ones, by name.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn kept() -> Result<Vec<(String, Self)>, AnyError> {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(folder())?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "case"));
        paths.sort();
        let mut cases = Vec::new();
        for path in paths {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let case = Self::parse(&fs::read_to_string(&path)?).map_err(|error| format!("{name}: {error}"))?;
            cases.push((name, case));
        }
        Ok(cases)
    }

    /// # Errors
    /// A folder that cannot be written.
    pub fn keep(&self, name: &str) -> Result<PathBuf, AnyError> {
        let path = folder().join(format!("{name}.case"));
        fs::create_dir_all(folder())?;
        fs::write(&path, self.text())?;
        Ok(path)
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("random_cases")
}

#[test]
fn a_kept_case_reads_back_as_it_was_written() -> Result<(), AnyError> {
    let case = Case {
        note: "why it is kept\nand more".to_owned(),
        model: "cubes:\n  - name: a\n".to_owned(),
        tables: "CREATE TABLE a (id integer);\n".to_owned(),
        views: "CREATE VIEW c AS SELECT id FROM a;\n".to_owned(),
        mariadb: "CREATE TABLE b (id integer);\n".to_owned(),
        files: vec![("c.csv".to_owned(), "id\n1\n".to_owned())],
        columns: vec!["c: { id: integer }".to_owned()],
        config: "refresh: { enabled: false }\n".to_owned(),
        settings: "SET timezone = 'Europe/Berlin'\n".to_owned(),
        ordered: true,
        query: "SELECT 1\nFROM a".to_owned(),
        references: vec!["SELECT 1".to_owned(), "SELECT 2".to_owned()],
    };
    assert_eq!(Case::parse(&case.text())?, case);
    Ok(())
}
