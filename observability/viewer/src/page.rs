//! The pages of Jaeger's user interface, release 2.14.1, as built by its authors.
//!
//! The files are inside of the crate `otlp-embedded`, of which nothing else is used. Jaeger's own server
//! writes the settings (`jaeger/ui.json`) into the first page; so does this.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use axum::routing::get;
use otlp_embedded::{Config, State, ui_app};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::Failure;

/// Where the first page takes its settings from.
const PLACE: &str = "const DEFAULT_CONFIG = null;";

/// The largest file that is read as the first page; it has some kB.
const PAGE_MAX: usize = 1024 * 1024;

/// The routes of every page, with `config` as settings.
///
/// # Errors
/// When the crate's files are not those that are expected.
pub(crate) async fn routes(config: Option<&Value>) -> Result<Router, Failure> {
    let unused = State::new(Config { max_length: 1, max_memory_usage: 1 });
    let files = ui_app(unused, "/");
    let request = Request::get("/index.html").body(Body::empty())?;
    let first = files.clone().oneshot(request).await?;
    let first = axum::body::to_bytes(first.into_body(), PAGE_MAX).await?;
    let first = configured(std::str::from_utf8(&first)?, config)?;

    let page = move || {
        let first = first.clone();
        async move { ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], first) }
    };
    let file = move |request: Request<Body>| files.oneshot(request);
    // The program in the page reads the rest of the path itself.
    Ok(Router::new().route("/static/{*path}", get(file)).fallback(page))
}

fn configured(page: &str, config: Option<&Value>) -> Result<String, Failure> {
    let Some(config) = config else { return Ok(page.to_owned()) };
    if !page.contains(PLACE) {
        return Err("the first page has no place for settings".into());
    }
    // `</` would end the script.
    let config = config.to_string().replace("</", "<\\/");
    Ok(page.replace(PLACE, &format!("const DEFAULT_CONFIG = {config};")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_stand_where_the_page_looks_for_them() {
        let config = serde_json::json!({ "url": "</script>" });
        let page = configured(&format!("a {PLACE} b"), Some(&config)).expect("the place is there");
        assert_eq!(page, r#"a const DEFAULT_CONFIG = {"url":"<\/script>"}; b"#);
        configured("nothing", Some(&config)).expect_err("there is no place");
        assert_eq!(configured("nothing", None).expect("nothing to write"), "nothing");
    }
}
