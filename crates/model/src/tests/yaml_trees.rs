//! YAML as the config file and the models see it.

use crate::yaml::{Keys, Node, Value, parse};
use crate::{SourceText, parse_interval};

fn tree(text: &str) -> Node {
    parse("config.yaml", text).unwrap_or_else(|problem| panic!("{problem}"))
}

#[test]
fn plain_scalars_are_those_of_yaml_1_2() {
    let node = tree(
        "[no, off, yes, on, y, true, False, null, ~, 1, -7, 0x1F, 0o17, 1_000, 1.5, 1e3, .inf, 2024-01-01, 1.2.3, 007, '1', \"true\", !!str 1]",
    );
    let json = node.to_json();
    assert_eq!(
        json,
        serde_json::json!([
            "no",
            "off",
            "yes",
            "on",
            "y",
            true,
            false,
            null,
            null,
            1,
            -7,
            31,
            15,
            "1_000",
            1.5,
            1000.0,
            ".inf",
            "2024-01-01",
            "1.2.3",
            7,
            "1",
            "true",
            "1"
        ])
    );
    let texts: Vec<Option<&str>> = node.as_list().unwrap_or_default().iter().map(Node::scalar_text).collect();
    assert_eq!((texts[19], texts[7]), (Some("007"), None), "numbers keep their text, null has none");
}

#[test]
fn merge_keys_add_what_is_not_there() {
    let node =
        tree("base: &base {a: 1, b: 2}\nmore: &more {b: 3, c: 4}\nall: {b: 5, <<: [*base, *more]}\none: {<<: *base}\n");
    let all = node.get("all").map(Node::to_json);
    assert_eq!(all, Some(serde_json::json!({"b": 5, "a": 1, "c": 4})));
    assert_eq!(node.get("one").map(Node::to_json), Some(serde_json::json!({"a": 1, "b": 2})));
}

#[test]
fn every_key_and_value_knows_its_place() {
    let node = tree("listen: 127.0.0.1:15432\nusers:\n  - { name: \"ana\", groups: [s] }\nfolded: >-\n  a\n  b\n");
    let place = |node: &Node| (node.place.line, node.place.column, node.place.length);
    let entries = node.as_map().unwrap_or_default();
    assert_eq!((entries[0].key_place.line, entries[0].key_place.column, entries[0].key_place.length), (1, 1, 6));
    assert_eq!(place(&entries[0].value), (1, 9, 15));
    let user = &entries[1].value.as_list().unwrap_or_default()[0];
    assert_eq!(place(user), (3, 5, 1));
    assert_eq!(user.get("name").map(place), Some((3, 13, 5)));
    assert_eq!(entries[2].value.value, Value::Text("a b".to_owned()));
}

#[test]
fn keys_that_nobody_asked_for_are_problems() {
    let text = "listen: a\nmodles: b\n";
    let node = tree(text);
    let mut keys = Keys::of(&node).expect("it is a map");
    assert!(keys.take("listen").is_some());
    assert!(keys.take("models").is_none());
    let problems: Vec<String> =
        keys.unknown(&SourceText::new("config.yaml", text)).iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "error: unknown key `modles`\n --> config.yaml:2:1\n  |\n2 | modles: b\n  | ^^^^^^ nothing reads this\n  = help: did you mean `models`?\n"
        ]
    );
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_move_no_place() {
    let node = tree("\u{feff}a: 1\r\nb:\r\n  c: 2\r\n");
    let entries = node.as_map().unwrap_or_default();
    assert_eq!((entries[0].key.as_str(), entries[0].key_place.column), ("a", 1));
    let inner = entries[1].value.as_map().unwrap_or_default();
    assert_eq!((inner[0].key_place.line, inner[0].key_place.column, inner[0].value.as_int()), (3, 3, Some(2)));
}

#[test]
fn intervals_are_sums_of_their_terms() {
    let interval = |text| parse_interval(text).map(|i| (i.months, i.days, i.microseconds));
    assert_eq!(interval("1 year 1 quarter 1 month"), Ok((16, 0, 0)));
    assert_eq!(interval("2 weeks -3 days"), Ok((0, 11, 0)));
    assert_eq!(interval("1 hour 1 minute 1 second"), Ok((0, 0, 3_661_000_000)));
    assert_eq!(interval("2147483647 years"), Err("this interval is too large".to_owned()));
    for wrong in ["", "day", "1", "1 day 2", "1.5 days", "1 fortnight", "1 days days"] {
        assert!(interval(wrong).is_err(), "{wrong}");
    }
}
