//! The known name that a mistyped one most likely stands for.

/// More candidates than this are not searched: the answer is a courtesy and must not cost seconds.
const CANDIDATES_MAX: usize = 500;

/// The closest of `candidates`, if it is close enough to be a slip of the fingers; the first one on a tie.
#[must_use]
pub fn best<'c>(written: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let length = written.chars().count();
    if length > 100 {
        return None;
    }
    let written = written.to_lowercase();
    let allowed = (length / 3).clamp(1, 4);
    candidates
        .into_iter()
        .take(CANDIDATES_MAX)
        .filter(|candidate| candidate.len().abs_diff(written.len()) <= allowed.max(4))
        .filter_map(|candidate| {
            let lowered = candidate.to_lowercase();
            let distance = strsim::damerau_levenshtein(&written, &lowered);
            // A forgotten or a superfluous ending counts as one slip: `customer` for `customers`, `desc` for `description`.
            let part = written.len() >= 3 && (lowered.starts_with(&written) || written.starts_with(&lowered));
            (distance <= allowed || part && distance <= 4).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
