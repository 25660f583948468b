//! Whatever the text, the loader answers: a model, or diagnostics that point at something.

use proptest::prelude::*;

use super::good_models::{EVERYTHING, TWO_FACTS};
use crate::{Loaded, ModelFile, load, yaml};

fn load_text(text: &str) -> Loaded {
    load(&[ModelFile { path: "model.yml".to_owned(), text: text.to_owned() }])
}

/// Either there is a model, or there is an error; and every place is inside the text.
fn check(text: &str) {
    let loaded = load_text(text);
    assert_eq!(loaded.model.is_none(), loaded.diagnostics.iter().any(crate::Diagnostic::is_error));
    // A carriage return ends a line in YAML too.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let lines: Vec<&str> = text.split(['\n', '\r']).collect();
    for problem in &loaded.diagnostics {
        let place = &problem.place;
        assert_eq!(&*place.file, "model.yml");
        let line = lines.get(place.line as usize - 1).unwrap_or_else(|| panic!("no line {}: {problem}", place.line));
        assert_eq!(&problem.source_line, line);
        let width = line.chars().count();
        assert!(place.column >= 1 && place.column as usize <= width + 1, "column outside of the line: {problem}");
        assert!(
            place.length >= 1 && (place.column + place.length) as usize <= width.max(1) + 2,
            "carets outside: {problem}"
        );
        assert!(problem.help.is_some(), "no help: {problem}");
        assert!(!problem.message.is_empty() && !problem.message.ends_with('.'), "{problem}");
    }
}

/// A text with some of its characters, words or lines changed.
fn mutated(text: &'static str) -> impl Strategy<Value = String> {
    let edit = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..8_u8, "[ -~]{0,6}");
    prop::collection::vec(edit, 1..4).prop_map(move |edits| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for (line, word, kind, new) in edits {
            let line = line.index(lines.len());
            let words: Vec<String> = lines[line].split_inclusive([' ', '{', '.', '"']).map(str::to_owned).collect();
            match kind {
                0 => drop(lines.remove(line)),
                1 => lines.insert(line, lines[line].clone()),
                2 => lines[line] = format!(" {}", lines[line]),
                3 => lines[line] = lines[line].trim_start().to_owned(),
                _ if words.is_empty() => lines[line].push_str(&new),
                4 => {
                    let chosen = word.index(words.len());
                    lines[line] =
                        words.iter().enumerate().filter(|(i, _)| *i != chosen).map(|(_, w)| w.as_str()).collect();
                }
                5 => {
                    let chosen = word.index(words.len());
                    let changed = |(i, w): (usize, &String)| if i == chosen { new.clone() } else { w.clone() };
                    lines[line] = words.iter().enumerate().map(changed).collect();
                }
                6 => {
                    let at = word.index(lines[line].chars().count().max(1));
                    let mut chars: Vec<char> = lines[line].chars().collect();
                    chars.splice(at.min(chars.len())..at.min(chars.len()), new.chars());
                    lines[line] = chars.into_iter().collect();
                }
                _ => {
                    let mut words = words;
                    let chosen = word.index(words.len());
                    words[chosen] = words[chosen].chars().rev().collect();
                    lines[line] = words.concat();
                }
            }
            if lines.is_empty() {
                break;
            }
        }
        lines.join("\n")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_at_all_is_answered(text in any::<String>()) {
        check(&text);
    }

    #[test]
    fn any_text_of_yaml_signs_is_answered(text in "([-:{}\\[\\]&*!|>'\"%@`#,?~<= \n\t\r\\\\a-c0-2é]|\n  - |: |cubes:|name:|sql:|<<: ){0,60}") {
        check(&text);
    }

    #[test]
    fn a_changed_model_loads_or_says_what_is_wrong(text in mutated(EVERYTHING)) {
        check(&text);
    }

    #[test]
    fn a_changed_model_with_views_loads_or_says_what_is_wrong(text in mutated(TWO_FACTS)) {
        check(&text);
    }

    #[test]
    fn any_sql_text_is_answered(sql in "([{}$\\\\a-c.'\"() é\n]|CUBE|FILTER_PARAMS|\\.sql\\(\\)|orders|status){0,20}") {
        let quoted = serde_json::to_string(&sql).expect("text is JSON");
        check(&format!(
            "cubes:\n  - name: orders\n    sql_table: orders\n    dimensions:\n      - name: status\n        sql: {quoted}\n        type: string\n"
        ));
    }
}

#[test]
fn a_bomb_of_aliases_is_refused_at_once() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let previous = format!("*a{}, ", level - 1).repeat(10);
        text += &format!("a{level}: &a{level} [{}]\n", previous.trim_end_matches(", "));
    }
    let problem = yaml::parse("bomb.yml", &text).expect_err("too many nodes");
    assert_eq!(problem.message, format!("the file has more than the {} keys and values allowed", yaml::NODES_MAX));

    let long = "x".repeat(100_000);
    let text = format!("a: &a {long}\nb: [{}]\n", vec!["*a"; 1_000].join(", "));
    let problem = yaml::parse("bomb.yml", &text).expect_err("too much text");
    assert_eq!(problem.message, format!("aliases repeat more than {} bytes of text", yaml::ALIAS_BYTES_MAX));
}

#[test]
fn deep_and_large_files_are_refused() {
    for text in ["[".repeat(100_000), "- ".repeat(100_000), "{a: ".repeat(100_000), "? ".repeat(100_000)] {
        let problem = yaml::parse("deep.yml", &text).expect_err("too deep");
        assert!(problem.place.line == 1, "{problem}");
    }
    let problem = yaml::parse("large.yml", &"#".repeat(yaml::FILE_BYTES_MAX + 1)).expect_err("too large");
    assert_eq!(problem.message, "the file has 1048577 bytes, more than the 1048576 allowed");
}

#[test]
fn long_chains_of_members_need_no_stack() {
    let mut text =
        "cubes:\n  - name: a\n    sql_table: a\n    measures:\n      - {name: m0, sql: x, type: sum}\n".to_owned();
    for index in 1..8_000 {
        text += &format!("      - {{name: m{index}, sql: \"{{m{}}}\", type: number}}\n", index - 1);
    }
    let loaded = load_text(&text);
    assert_eq!(loaded.diagnostics, []);
    let circle = text.replace("name: m0, sql: x, type: sum", "name: m0, sql: \"{m7999}\", type: number");
    assert_eq!(load_text(&circle).diagnostics.len(), 1);
}

#[test]
fn a_hundred_thousand_problems_on_one_long_line_need_little_memory() {
    let references = "{CUBE.dx} ".repeat(90_000);
    let loaded = load_text(&format!(
        "cubes:\n  - name: c\n    sql_table: x\n    dimensions:\n      - {{name: d, type: string, sql: \"{references}\"}}\n"
    ));
    assert_eq!(loaded.model, None);
    assert_eq!(loaded.diagnostics.len(), 19, "as many lines of 900 kB as fit into 16 MiB");
    let help = loaded.diagnostics.last().and_then(|last| last.help.clone());
    assert_eq!(
        help.as_deref(),
        Some("did you mean `d`? (and 89981 more problems that are not shown: solve these first)")
    );
}
