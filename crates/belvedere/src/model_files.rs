//! Finds and reads the files of a model: all `.yml` and `.yaml` below the configured folders.

use std::io::Read;
use std::path::{Path, PathBuf};

use belvedere_model::yaml::FILE_BYTES_MAX;
use belvedere_model::{Diagnostic, ModelFile, Place, Severity};

use crate::config::Placed;

/// Files of one model.
pub const FILES_MAX: usize = 10_000;
/// Bytes of all files of one model.
pub const MODEL_BYTES_MAX: u64 = 256 << 20;
/// Folders inside each other; more than this is a link that leads back.
pub const DEPTH_MAX: usize = 32;

/// What stands below the model's folders.
#[derive(Debug, Default)]
pub struct ModelFiles {
    pub files: Vec<ModelFile>,
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads all files below `paths`, in the order of their names.
pub fn read(paths: &[Placed<PathBuf>]) -> ModelFiles {
    let mut found = ModelFiles::default();
    let listed = match list(paths) {
        Ok(listed) => listed,
        Err(problem) => {
            found.diagnostics.push(*problem);
            return found;
        }
    };
    let mut bytes = 0;
    for path in listed {
        match language(&path) {
            Some(Language::Yaml) => match read_text(&path, MODEL_BYTES_MAX - bytes) {
                Ok(text) => {
                    bytes += text.len() as u64;
                    found.files.push(ModelFile { path: path.display().to_string(), text });
                }
                Err(problem) => found.diagnostics.push(*problem),
            },
            Some(Language::Other(name)) => {
                let help = "write this part of the model as YAML, or move the file out of the folder";
                found.diagnostics.push(about_file(&path, format!("{name} models are not read yet")).with_help(help));
            }
            None => {}
        }
    }
    if found.files.is_empty()
        && found.diagnostics.is_empty()
        && let Some(first) = paths.first()
    {
        let message = format!("there is no model file below {}", first.value.display());
        let help = "put files with `cubes` and `views` there; their names end in .yml or .yaml";
        found.diagnostics.push(first.at.error(message).with_help(help));
    }
    found
}

/// All files below `paths` whose names can be a model's, sorted; hidden ones are left out.
///
/// # Errors
/// A folder that cannot be listed, and limits.
pub fn list(paths: &[Placed<PathBuf>]) -> Result<Vec<PathBuf>, Box<Diagnostic>> {
    let mut files = Vec::new();
    for path in paths {
        let help = "`models` names folders or files, relative to the config file";
        let cannot = |shown: &Path, error: &std::io::Error| {
            let message = format!("cannot read {}: {}", shown.display(), plain(error));
            Box::new(path.at.error(message).with_help(help))
        };
        let metadata = std::fs::metadata(&path.value).map_err(|error| cannot(&path.value, &error))?;
        if metadata.is_file() {
            files.push(path.value.clone());
            continue;
        }
        let mut folders = vec![(path.value.clone(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            for entry in std::fs::read_dir(&folder).map_err(|error| cannot(&folder, &error))? {
                let entry = entry.map_err(|error| cannot(&folder, &error))?;
                let found = entry.path();
                if entry.file_name().to_string_lossy().starts_with('.') {
                    continue;
                }
                // A link that leads nowhere is no file.
                let Ok(metadata) = std::fs::metadata(&found) else { continue };
                if metadata.is_dir() {
                    if depth == DEPTH_MAX {
                        let message =
                            format!("folders lie more than {DEPTH_MAX} deep inside each other at {}", found.display());
                        let help = "a link may lead back to a folder above it: remove it";
                        return Err(Box::new(path.at.error(message).with_help(help)));
                    }
                    folders.push((found, depth + 1));
                } else if metadata.is_file() && language(&found).is_some() {
                    files.push(found);
                }
            }
            if files.len() > FILES_MAX {
                let message = format!("there are more than {FILES_MAX} model files below {}", path.value.display());
                return Err(Box::new(path.at.error(message).with_help("name the folders that hold the model")));
            }
        }
    }
    files.sort();
    // One folder may be named twice, or lie inside another.
    files.dedup();
    Ok(files)
}

enum Language {
    Yaml,
    /// One of Cube's that we do not read.
    Other(&'static str),
}

/// By the ending; `None` for what is no model file at all.
fn language(path: &Path) -> Option<Language> {
    Some(match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "yml" | "yaml" => Language::Yaml,
        "js" | "cjs" | "mjs" | "jsx" => Language::Other("JavaScript"),
        "ts" => Language::Other("TypeScript"),
        "py" => Language::Other("Python"),
        "jinja" | "jinja2" | "j2" => Language::Other("Jinja"),
        _ => return None,
    })
}

fn read_text(path: &Path, bytes_left: u64) -> Result<String, Box<Diagnostic>> {
    let cannot = |error: &std::io::Error| {
        let message = format!("cannot read this file: {}", plain(error));
        Box::new(about_file(path, message).with_help("the server's user must be allowed to read it"))
    };
    let file = std::fs::File::open(path).map_err(|error| cannot(&error))?;
    let mut bytes = Vec::new();
    // One byte more than allowed, so that the loader sees that it is too long.
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(|error| cannot(&error))?;
    if bytes.len() as u64 > bytes_left {
        let message = format!("the files of the model have more than {MODEL_BYTES_MAX} bytes together");
        return Err(Box::new(about_file(path, message).with_help("name the folders that hold the model")));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        // A cut at the limit may fall into a character.
        Err(error) if error.as_bytes().len() > FILE_BYTES_MAX => {
            Ok(String::from_utf8_lossy(error.as_bytes()).into_owned())
        }
        Err(error) => {
            let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
            let message = format!("this file is not UTF-8, first on line {line}");
            Err(Box::new(about_file(path, message).with_help("save it as UTF-8")))
        }
    }
}

/// About a file as a whole.
pub fn about_file(path: &Path, message: String) -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        message,
        place: Place { file: path.display().to_string().into(), line: 1, column: 1, length: 1 },
        label: String::new(),
        help: None,
        source_line: String::new(),
    }
}

/// Without Rust's `(os error 2)`.
pub fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect())
}

#[cfg(test)]
mod tests;
