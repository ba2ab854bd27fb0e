//! The OpenAPI 3.1 document: made from the handlers' own descriptions, served at `/openapi.json`, printed by `openapi`.

pub mod schema;

use std::collections::BTreeMap;

use axum::{http::header, response::IntoResponse};
use utoipa::{
    IntoResponses, Modify, OpenApi,
    openapi::{
        Content, HttpMethod, PathItem, Paths, Ref, RefOr, Required, Response, ResponseBuilder,
        path::OperationBuilder,
        request_body::RequestBodyBuilder,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
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
        license(name = "Apache-2.0", identifier = "Apache-2.0")
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
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A frontend's token, or a browser token where stated."));
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
        let signature = ApiKeyValue::with_description(
            "webhook-signature",
            "Standard Webhooks headers (`webhook-id`, `webhook-timestamp`, `webhook-signature`) by one of the frontend's \
             `signing_secrets`, within five minutes.",
        );
        components.add_security_scheme("signature", SecurityScheme::ApiKey(ApiKey::Header(signature)));
        let action_key =
            ApiKeyValue::with_description("x-api-key", "The key of `[fini] action_key_file`; for Fini alone.");
        components.add_security_scheme("action_key", SecurityScheme::ApiKey(ApiKey::Header(action_key)));
        document.webhooks = Some(webhooks());
    }
}

/// The callback, as the receiver sees it.
fn webhooks() -> Paths {
    let event = Content::new(Some(RefOr::Ref(Ref::from_schema_name("FeedEvent"))));
    let body = RequestBodyBuilder::new()
        .description(Some("The feed event; the same bytes in every attempt."))
        .content("application/json", event)
        .required(Some(Required::True))
        .build();
    let operation = OperationBuilder::new()
        .operation_id(Some("callback"))
        .summary(Some("A feed event, sent to the frontend's callback address"))
        .description(Some(
            "Signed by Standard Webhooks: `webhook-id` (the event's id), `webhook-timestamp` (of the attempt) and \
             `webhook-signature`. In order per conversation; anything but 2xx is tried again.",
        ))
        .request_body(Some(body))
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
    document.to_pretty_json().unwrap_or_default()
}

/// Serves the document.
pub async fn get() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "public, max-age=300")], document())
}
