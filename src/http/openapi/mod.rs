//! The OpenAPI 3.1 document: made from the handlers' own descriptions, served at `/openapi.json`, printed by `openapi`.

mod samples;
pub mod schema;

use std::{collections::BTreeMap, sync::LazyLock};

use axum::{http::header, response::IntoResponse};
use bytes::Bytes;
use utoipa::{
    IntoResponses, Modify, OpenApi,
    openapi::{
        Content, HttpMethod, PathItem, Paths, Ref, RefOr, Required, Response, ResponseBuilder,
        path::{OperationBuilder, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        schema::{ObjectBuilder, Type},
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use super::{
    conversations, erase, fini_push, handoff, log, log_stream, messages, person, problem::Code, read_marks, stream,
    tokens, users,
};
#[derive(OpenApi)]
#[openapi(
    info(
        title = "fini-bridge",
        description = "Puts Fini, the AI support agent, behind your own chat frontend: messages in exactly once, one ordered feed out.",
        contact(name = "Whoever runs this bridge"),
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    servers((url = "/", description = "The bridge that serves this document")),
    tags(
        (name = "Messages", description = "What customers, desks and bots say"),
        (name = "Conversations", description = "A conversation, its feed and its stream"),
        (name = "Users", description = "All conversations of one person"),
        (name = "Tokens", description = "Browser tokens"),
        (name = "Log", description = "Every event of a frontend over all its conversations"),
        (name = "Handoff", description = "A desk outside Fini"),
        (name = "Fini", description = "What Fini itself can be set up to ask"),
        (name = "Callbacks", description = "What a frontend's callback address is sent"),
    ),
    paths(messages::post, conversations::get, conversations::events, stream::get, tokens::post, users::post_token, log::get, log_stream::get, erase::delete,
        read_marks::post, users::conversations, users::claim, person::get, person::delete,
        handoff::request, handoff::claim, handoff::position, handoff::typing, handoff::leave, handoff::give_back,
        handoff::put_desk, fini_push::escalate, fini_push::attributes),
    components(schemas(schema::FeedEvent, schema::ProblemBody, schema::With)),
    modifiers(&Surroundings),
)]
struct Document;

struct Surroundings;

impl Modify for Surroundings {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let bearer =
            |description: &str| HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(description));
        let frontend = bearer("One of the frontend's `tokens`: for its server, never for a browser.");
        let browser = bearer(
            "A browser token: a JWT for one conversation, or for all of one user. Says who the customer is; may do nothing but \
             what is marked with it.",
        )
        .bearer_format("JWT");
        let in_query = ApiKeyValue::with_description(
            "access_token",
            "A browser token in the address, for `EventSource`. It counts unless an `Authorization` of scheme Bearer is there.",
        );
        let signature = ApiKeyValue::with_description(
            "webhook-signature",
            "Standard Webhooks headers (`webhook-id`, `webhook-timestamp`, `webhook-signature`). Of a message: by one of the \
             frontend's `signing_secrets`, within five minutes. Of a callback: by each of its `callback_secrets`.",
        );
        let action_key =
            ApiKeyValue::with_description("x-api-key", "The key of `[fini] action_key_file`; for Fini alone.");
        for (name, scheme) in [
            ("frontend_token", SecurityScheme::Http(frontend.build())),
            ("browser_token", SecurityScheme::Http(browser.build())),
            ("access_token", SecurityScheme::ApiKey(ApiKey::Query(in_query))),
            ("signature", SecurityScheme::ApiKey(ApiKey::Header(signature))),
            ("action_key", SecurityScheme::ApiKey(ApiKey::Header(action_key))),
        ] {
            components.add_security_scheme(name, scheme);
        }
        document.webhooks = Some(webhooks());
    }
}

/// The callback, as the receiver sees it.
fn webhooks() -> Paths {
    // Its examples stand at the types: linters that judge by the discriminator cannot take one of a union that is open.
    let event = Content::new(Some(RefOr::Ref(Ref::from_schema_name("FeedEvent"))));
    let body = RequestBodyBuilder::new()
        .description(Some("The feed event; the same bytes in every attempt."))
        .content("application/json", event)
        .required(Some(Required::True))
        .build();
    let header = |name: &str, required: Required, description: &str| {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .required(required)
            .description(Some(description))
            .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
            .build()
    };
    let operation = OperationBuilder::new()
        .operation_id(Some("callback"))
        .tag("Callbacks")
        .summary(Some("A feed event, sent to the frontend's callback address"))
        .description(Some(
            "Signed by Standard Webhooks over `id.timestamp.body`. In order per conversation; anything but 2xx is tried again. \
             `hidden` is never called back.",
        ))
        .parameter(header("webhook-id", Required::True, "The event's `id`: the same in every attempt"))
        .parameter(header("webhook-timestamp", Required::True, "When this attempt was made, in seconds since 1970"))
        .parameter(header("webhook-signature", Required::True, "`v1,…` for each of the destination's secrets, and `v1a,…` for its key, with spaces between"))
        .parameter(header("user-agent", Required::True, "`fini-bridge/` and the version"))
        .parameter(header("x-request-id", Required::False, "The id of the request that caused the event"))
        .parameter(header("traceparent", Required::False, "W3C Trace Context of what caused the event"))
        .request_body(Some(body))
        .security(SecurityRequirement::new("signature", Vec::<String>::new()))
        .response("2XX", ResponseBuilder::new().description("Taken"))
        .response("410", ResponseBuilder::new().description("Send nothing more: callbacks to this frontend are paused"))
        .response(
            "429",
            ResponseBuilder::new().description(
                "Too fast: the whole endpoint is left alone for `Retry-After`, and then called more slowly",
            ),
        )
        .response("default", ResponseBuilder::new().description("To be tried again"))
        .build();
    let mut paths = Paths::new();
    paths.paths.insert("feedEvent".to_owned(), PathItem::new(HttpMethod::Post, operation));
    paths
}

/// The errors that any route may answer with.
pub(super) struct Errors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut by_status: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        let common = [
            Code::Unauthorized,
            Code::Forbidden,
            Code::NotFound,
            Code::RequestTimeout,
            Code::TooLarge,
            Code::InvalidRequest,
            Code::Internal,
            Code::StoreUnavailable,
            Code::InvalidJson,
        ];
        for code in common {
            by_status.entry(code.status().as_u16().to_string()).or_default().push(code.as_str());
        }
        by_status.into_iter().map(|(status, codes)| (status, RefOr::T(problem(&codes.join(", "))))).collect()
    }
}

fn problem(codes: &str) -> Response {
    let body = Content::new(Some(RefOr::Ref(Ref::from_schema_name("ProblemBody"))));
    ResponseBuilder::new().description(codes).content("application/problem+json", body).build()
}

/// The document as JSON.
pub fn document() -> String {
    let mut document = Document::openapi();
    env!("CARGO_PKG_VERSION").clone_into(&mut document.info.version);
    let mut document = serde_json::to_value(document).unwrap_or_default();
    // A type that is named is never another one: utoipa has no word for that.
    let named = schema::SHAPES.iter().chain([&schema::IN_LOG_ALONE]).map(|(kind, _)| *kind);
    document["components"]["schemas"]["OtherEvent"]["properties"]["type"]["not"] =
        serde_json::json!({"enum": named.collect::<Vec<_>>()});
    format!("{document:#}")
}

/// The document as it is served. Making it takes long enough that a few dozen strangers who ask for it at once would hold up
/// everybody else, so it is made once; answers that nobody reads share it, too.
static SERVED: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(document()));

/// Serves the document.
pub async fn get() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "public, max-age=300")], SERVED.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::domain::{
        event::EVENT_TYPES,
        shown::{HIDDEN, to_browser},
    };

    fn shapes() -> Vec<&'static str> {
        schema::SHAPES.iter().map(|(kind, _)| *kind).collect()
    }

    fn sorted<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_unstable();
        names
    }

    /// The names in backquotes or quotes that look like a type of event.
    fn named(text: &str, quote: char) -> Vec<&str> {
        let is_kind =
            |name: &&str| name.contains('.') && name.chars().all(|c| c.is_ascii_lowercase() || c == '.' || c == '_');
        let mut found: Vec<&str> = text.split(quote).skip(1).step_by(2).filter(is_kind).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    #[tokio::test]
    async fn the_document_is_made_once_for_all_who_ask() {
        let served =
            async || axum::body::to_bytes(get().await.into_response().into_body(), usize::MAX).await.expect("whole");
        let (one, other) = (served().await, served().await);
        assert_eq!(one, document());
        assert_eq!(one.as_ptr(), other.as_ptr(), "asking costs nothing, and answers that nobody reads no memory");
    }

    #[test]
    fn every_type_has_its_shape_and_one_example_of_it() {
        assert_eq!(sorted(shapes()), sorted(EVENT_TYPES.into_iter().chain([HIDDEN])));
        let samples = samples::all();
        let kinds = samples.iter().map(|event| event["type"].as_str().expect("a type"));
        assert_eq!(sorted(kinds), sorted(shapes()));
        let document: Value = serde_json::from_str(&document()).expect("JSON");
        for (kind, name) in schema::SHAPES {
            let shape = &document["components"]["schemas"][name];
            assert_eq!(shape["properties"]["type"]["enum"], serde_json::json!([kind]));
            assert_eq!(shape["examples"].as_array().map(Vec::len), Some(1), "{kind}");
        }
    }

    #[test]
    fn readme_and_client_name_every_type_they_may_meet() {
        let readme = include_str!("../../../README.md");
        let list = readme.split("Types: ").nth(1).and_then(|rest| rest.split(". Answer 2xx").next()).expect("the list");
        assert_eq!(named(list, '`'), sorted(EVENT_TYPES));
        let declared = include_str!("../client/fini-bridge.d.ts");
        let union = declared.split("export type FeedEvent =").nth(1).and_then(|rest| rest.split("export ").next());
        let for_browsers = samples::all()
            .iter()
            .map(|event| {
                let (kind, body) = (event["type"].as_str().expect("a type"), event.to_string());
                to_browser(kind, &body, 1).kind.into_owned()
            })
            .collect::<Vec<_>>();
        // Tags alone are not for browsers; any other change of a message is.
        let wanted = for_browsers.iter().map(String::as_str).filter(|kind| *kind != HIDDEN).chain(["message.updated"]);
        assert_eq!(named(union.expect("the union"), '\''), sorted(wanted));
    }
}
