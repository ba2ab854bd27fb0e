//! Changes that tests make to a database past the port: file callbacks without a Fini that causes them, fill it, look into it.

use futures_util::{FutureExt, future::BoxFuture};

use super::{
    Conn, Cx, ThisStore,
    db::{self, AssertSqlSafe},
    dialect, outbox, rows,
};
use crate::{
    domain::{
        Timestamp,
        destination::Poster,
        event::{Author, FeedEvent, Message, Origin, TextFormat},
        ids::{ConversationKey, EventId, FrontendName},
    },
    store::{Listener, Result, Store, conformance::Rig},
};

#[async_trait::async_trait]
impl Rig for ThisStore {
    async fn owe(&self, conversation: ConversationKey, now: Timestamp) -> Result<i64> {
        self.write((conversation, now), |conn, cx, (conversation, now)| owe(conn, cx, *conversation, *now).boxed())
            .await
    }

    fn listen(&self) -> Listener {
        Store::changes(self).listen()
    }

    fn may_be_shared(&self) -> bool {
        dialect::SHARED
    }

    async fn execute(&self, sql: &str) -> Result<()> {
        let run: for<'a> fn(&'a mut Conn, &'a mut Cx, &'a String) -> BoxFuture<'a, Result<()>> = |conn, _, sql| {
            async move {
                db::raw_sql(AssertSqlSafe(sql.as_str())).execute(conn).await?;
                Ok(())
            }
            .boxed()
        };
        self.write(sql.to_owned(), run).await
    }

    async fn number(&self, sql: &str) -> Result<i64> {
        self.read(sql.to_owned(), |conn, sql| {
            async move { Ok(db::query_scalar(AssertSqlSafe(sql.as_str())).fetch_one(conn).await?) }.boxed()
        })
        .await
    }
}

/// Appends an event to the feed and files its delivery.
async fn owe(conn: &mut Conn, cx: &mut Cx, conversation: ConversationKey, now: Timestamp) -> Result<i64> {
    let row = db::query(
        "UPDATE conversations SET last_sequence = last_sequence + 1 WHERE key = $1 RETURNING last_sequence, frontend",
    )
    .bind(conversation.0)
    .fetch_one(&mut *conn)
    .await?;
    let sequence = rows::int(&row, "last_sequence")?;
    let event = EventId::trusted(cx.id("evt_", now));
    db::query(
        "INSERT INTO events (conversation_key, sequence, id, kind, body, recorded_at) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(conversation.0)
    .bind(sequence)
    .bind(event.as_str())
    .bind("message.created")
    .bind(format!("{{\"sequence\":{sequence}}}"))
    .bind(now.as_millis())
    .execute(&mut *conn)
    .await?;
    let frontend = FrontendName::trusted(rows::text(&row, "frontend")?);
    let message = Message {
        id: "m".to_owned(),
        author: Author::Bot,
        text: String::new(),
        format: TextFormat::Plain,
        created_at: now,
        articles: Vec::new(),
        attachments: Vec::new(),
        tags: Vec::new(),
    };
    let told = FeedEvent::MessageCreated { message, origin: Origin::Fini, in_reply_to: None, withheld: false };
    let appended = outbox::Appended {
        frontend: &frontend,
        conversation,
        sequence,
        id: &event,
        event: &told,
        poster: Poster::Server,
    };
    outbox::file(conn, cx, &appended, &mut Vec::new(), now).await?;
    Ok(sequence)
}
