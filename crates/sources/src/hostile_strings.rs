//! Strings that break a quoting mistake, for tests.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// `count` strings made of quotes, backslashes, comments, placeholders, control characters and emoji; never with NUL. The same
/// ones each time.
pub(crate) fn hostile_strings(count: usize) -> Vec<String> {
    const FIXED: &[&str] = &[
        "'",
        "\\",
        "\"",
        "`",
        "--",
        "/*",
        "*/",
        "$1",
        "?",
        ";",
        "$$",
        "#",
        "\u{feff}",
        "\r\n",
        "%_",
        "' OR 1=1 --",
        "\\'",
        "''",
        "E'",
        "\u{1a}",
        "0x27",
        "\u{2019}",
    ];
    let piece = prop_oneof![
        proptest::sample::select(FIXED).prop_map(str::to_owned),
        "[^\u{0}]{0,3}",
        "[\u{1}-\u{1f}]",
        "[🦀-🧀]"
    ];
    let texts = proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat());
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| texts.new_tree(&mut runner).expect("no filter rejects anything").current()).collect()
}
