//! Which requests are answered, and how.

use super::{Answer, answer, text};

fn page(path: &str) -> Option<Answer> {
    (path == "/livez").then(|| text(200, "alive\n"))
}

#[test]
fn only_get_and_head_of_known_paths_are_answered() {
    let status = |request: &str| answer(request, &page).0.status;
    assert_eq!(status("GET /livez HTTP/1.1"), 200);
    assert_eq!(status("GET /livez?x=1 HTTP/1.0"), 200);
    assert_eq!(status("GET /other HTTP/1.1"), 404);
    assert_eq!(status("POST /livez HTTP/1.1"), 405);
    for wrong in ["", "GET", "GET /livez", "GET livez HTTP/1.1", "GET /livez HTTP/2", "GET /a b HTTP/1.1"] {
        assert_eq!(status(wrong), 400, "{wrong:?}");
    }
    assert!(!answer("HEAD /livez HTTP/1.1", &page).1, "HEAD has no body");
}
