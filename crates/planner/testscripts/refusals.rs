//! Every reason not to use a rollup has a golden block: a list of them that the compiler keeps whole, and where they are looked for.

use std::path::Path;

use belvedere_planner::substitute::refusal::Refusal;

use super::Result;

/// Names with what only their sentences say. A variant that is not among them does not compile.
macro_rules! refusals {
    ($($name:ident: $words:literal,)*) => {
        const WORDS: &[(&str, &str)] = &[$((stringify!($name), $words)),*];

        /// What the sentence of a refusal says, and that of no other.
        pub fn words_of(refusal: &Refusal) -> &'static str {
            match refusal {
                $(Refusal::$name { .. } => $words,)*
            }
        }
    };
}

refusals! {
    Unusable: "it cannot be used: ",
    NotBuilt: "it has not been built yet",
    RangeNotBuilt: "it does not hold the times",
    OtherZone: "its times are cut in",
    Stale: "and max_staleness allows",
    OtherRoot: "so that it has other rows",
    JoinMissing: "and it was built without that join",
    MeasureMissing: "it does not store the measure",
    MeasureDiffers: "over other joins or under other filters",
    NotAdditive: "is a distinct count and cannot be added up",
    Multiplied: "count in several of its groups",
    MemberMissing: "it does not store \"",
    TooCoarse: "and the query needs it more exactly",
    NoWholeBucket: "holds no whole",
    CannotCombine: "a part of the range is not in it",
    RowsNeeded: "is over single rows",
    RowFilter: "an access policy filters the rows",
    DefaultFilter: "a default filter of the view",
    NothingToJoin: "the query reads a single cube",
    TooManyJoins: "rollups are joined up to six",
    NoRollupForPart: "it joins no rollup for one of the cubes",
    SeveralFacts: "measures of several cubes",
    KeyMissing: "are not stored as dimensions on both sides",
    KeyNotUnique: "the join is not on the primary key",
    PartNotWhole: "which would be joined, does not hold all rows",
    Switch: "grouped by the switch",
    TimeMapped: "shifts a time by the SQL of the calendar",
}

/// A refusal as a line of a golden text, checked against the list.
///
/// # Errors
/// A sentence that does not say what the list has, or also what another one says.
pub fn sentence(refusal: &Refusal) -> Result<String> {
    let text = refusal.to_string();
    let own = words_of(refusal);
    let said: Vec<&str> = WORDS.iter().map(|(_, words)| *words).filter(|words| text.contains(words)).collect();
    if said == [own] { Ok(text) } else { Err(format!("\"{text}\" should say \"{own}\", and says {said:?}").into()) }
}

/// Whether a comment of a script names something.
fn names(script: &str, wanted: &str) -> bool {
    script
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .any(|line| line.split(|letter: char| !letter.is_alphanumeric()).any(|word| word == wanted))
}

#[test]
fn every_rule_of_the_map_is_shown_where_it_says() -> Result<()> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("testscripts");
    let readme = std::fs::read_to_string(scripts.join("README.md"))?;
    let (map, _) = readme.split_once("### Overruled").ok_or("the map has no end")?;
    let mut shown = Vec::new();
    for line in map.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Rules")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [rules, script, block] = cells.as_slice() else { return Err(format!("no row of the map: {line}").into()) };
        let text = std::fs::read_to_string(scripts.join("substitute").join(script))?;
        assert!(names(&text, block), "no comment of {script} names {block}");
        shown.extend(rules.split([',', ' ']).map(str::to_owned));
    }
    let rules = (1..=4).chain(10..=39).map(|number| format!("PM{number}"));
    let missing: Vec<String> = rules.filter(|rule| !shown.contains(rule)).collect();
    assert!(missing.is_empty(), "the map lacks {missing:?}");
    Ok(())
}

#[test]
fn every_refusal_has_a_golden_block() -> Result<()> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("testscripts/substitute");
    let script = std::fs::read_to_string(scripts.join("refusals"))?;
    let mut missing = Vec::new();
    for (name, words) in WORDS {
        let is_printed = script.lines().any(|line| line.starts_with("not ") && line.contains(words));
        let is_named = names(&script, name);
        if !is_printed || !is_named {
            missing.push(*name);
        }
    }
    assert!(missing.is_empty(), "no block of substitute/refusals is named after and shows {missing:?}");
    Ok(())
}
