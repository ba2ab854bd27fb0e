//! What every line of the log must be, and what must be in none.

use serde_json::Value;

/// The faults of these lines: not one JSON object, a field missing, or something in them that must stay out.
pub fn faults(lines: &[String], secret: &[String], loops_may_fail: bool) -> Vec<String> {
    let mut faults = Vec::new();
    for line in lines {
        if let Err(why) = check(line, loops_may_fail) {
            faults.push(format!("log line {line:?}: {why}"));
        }
        faults.extend(leaks(line, secret).map(|what| format!("log line with {what:?}: {line:?}")));
    }
    faults
}

/// Which of `secret` stand in `text`.
pub fn leaks<'a>(text: &'a str, secret: &'a [String]) -> impl Iterator<Item = &'a String> {
    secret.iter().filter(move |secret| text.contains(secret.as_str()))
}

fn check(line: &str, loops_may_fail: bool) -> Result<(), String> {
    let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let fields = value.as_object().ok_or("not an object")?;
    let text = |name: &str| fields.get(name).and_then(Value::as_str).ok_or_else(|| format!("no {name}"));
    let timestamp = text("timestamp")?;
    timestamp.parse::<jiff::Timestamp>().map_err(|error| format!("timestamp: {error}"))?;
    if !timestamp.ends_with('Z') {
        return Err("timestamp is not in UTC".to_owned());
    }
    text("target")?;
    let level = text("level")?;
    if !["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&level.to_uppercase().as_str()) {
        return Err(format!("level {level}"));
    }
    let message = text("message")?;
    if message.starts_with("loop step failed") && !loops_may_fail {
        return Err("a loop of the bridge failed".to_owned());
    }
    if message.is_empty() || message.len() > 100 {
        return Err("message is not a short text".to_owned());
    }
    for (name, kind) in [
        ("request_id", "text"),
        ("trace_id", "text"),
        ("frontend", "text"),
        ("conversation_id", "text"),
        ("message_id", "text"),
        ("interaction_id", "text"),
        ("event_id", "text"),
        ("error", "text"),
        ("sequence", "number"),
        ("attempt", "number"),
        ("status", "number"),
        ("duration_ms", "number"),
    ] {
        let as_wanted = match fields.get(name) {
            None => true,
            Some(value) if kind == "text" => value.is_string(),
            Some(value) => value.is_number(),
        };
        if !as_wanted {
            return Err(format!("{name} is not a {kind}"));
        }
    }
    Ok(())
}
