//! Hides passwords in lines of the config file before they are shown.

/// `line` with the password of every URL and every value of a `password` key replaced by as many `*`.
///
/// Works on the text alone, because a file that is not valid YAML is shown too. Where the end of a secret is in doubt, it goes
/// on to the end of the line.
pub fn mask_secrets(line: &str) -> String {
    let mut chars: Vec<char> = line.chars().collect();
    mask_urls(&mut chars);
    mask_password_keys(&mut chars);
    chars.into_iter().collect()
}

/// From the first `:` behind `://` to the last `@` of the word.
fn mask_urls(chars: &mut [char]) {
    let mut from = 0;
    while let Some(scheme) = find(chars, from, &['/', '/']) {
        from = scheme + 2;
        let is_scheme = scheme > 0 && chars[scheme - 1] == ':';
        if !is_scheme {
            continue;
        }
        let quote = chars[..scheme].iter().rev().find(|c| !c.is_alphanumeric() && !matches!(c, ':' | '+' | '-' | '.'));
        let ends = |c: char| match quote {
            Some(quote @ ('"' | '\'')) => c == *quote,
            _ => c.is_whitespace(),
        };
        let end = chars[from..].iter().position(|c| ends(*c)).map_or(chars.len(), |length| from + length);
        let Some(at) = chars[from..end].iter().rposition(|c| *c == '@').map(|index| from + index) else { continue };
        let Some(colon) = chars[from..at].iter().position(|c| *c == ':').map(|index| from + index) else { continue };
        for c in &mut chars[colon + 1..at] {
            *c = '*';
        }
        from = end;
    }
}

fn mask_password_keys(chars: &mut [char]) {
    const KEY: [char; 8] = ['p', 'a', 's', 's', 'w', 'o', 'r', 'd'];
    let mut from = 0;
    while let Some(key) = find(chars, from, &KEY) {
        from = key + KEY.len();
        // A key may itself be in quotes, and need not end in the word: `passwords:` is a typing mistake with a secret behind it.
        let Some(colon) = chars[from..].iter().position(|c| *c == ':').map(|index| from + index) else { continue };
        if chars[from..colon].iter().any(|c| !(c.is_alphanumeric() || matches!(c, '_' | '"' | '\'' | ' '))) {
            continue;
        }
        let Some(start) = chars[colon + 1..].iter().position(|c| !c.is_whitespace()).map(|index| colon + 1 + index)
        else {
            continue;
        };
        let (start, end) = match chars[start] {
            quote @ ('"' | '\'') => {
                let end = chars[start + 1..].iter().rposition(|c| *c == quote).map(|index| start + 1 + index);
                let next = chars[start + 1..].iter().position(|c| *c == quote).map(|index| start + 1 + index);
                // A quote that is doubled or escaped does not end the text.
                let plain = next.filter(|next| {
                    chars[*next - 1] != '\\'
                        && chars.get(next + 1).is_none_or(|c| c.is_whitespace() || matches!(c, ',' | '}'))
                });
                (start + 1, plain.or(end).unwrap_or(chars.len()))
            }
            _ => {
                let end = chars[start..].iter().position(|c| matches!(c, ',' | '}')).map(|index| start + index);
                let in_braces = chars[..key].contains(&'{');
                (start, end.filter(|_| in_braces).unwrap_or(chars.len()))
            }
        };
        // `${NAME}` is not the secret, and the name helps.
        let is_reference = chars[start..end].starts_with(&['$', '{'])
            && chars[start..end].last() == Some(&'}')
            && find(&chars[start..end], 0, &[':', '-']).is_none();
        if !is_reference {
            for c in &mut chars[start..end] {
                *c = '*';
            }
        }
        from = end.max(from);
    }
}

fn find(chars: &[char], from: usize, wanted: &[char]) -> Option<usize> {
    chars.get(from..)?.windows(wanted.len()).position(|window| window == wanted).map(|index| from + index)
}
