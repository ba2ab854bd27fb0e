//! Query strings as the vendor reads them: lists comma-separated or repeated, times in epoch milliseconds.

use uuid::Uuid;

use super::error::VendorError;

/// The decoded pairs of a query string.
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Splits and decodes.
    pub fn parse(query: &str) -> Self {
        Self(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// Returns the last value under `name`; an empty one counts as absent.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// Returns every value under `name` or `name[]`, commas split.
    pub fn list(&self, name: &str) -> Vec<&str> {
        let named = self.0.iter().filter(|(key, _)| key.strip_suffix("[]").unwrap_or(key) == name);
        named.flat_map(|(_, value)| value.split(',')).map(str::trim).filter(|value| !value.is_empty()).collect()
    }

    /// Reads a whole number.
    pub fn number(&self, name: &str) -> Result<Option<i64>, VendorError> {
        let parse =
            |text: &str| text.parse().map_err(|_| VendorError::bad_request(format!("{name} must be an integer")));
        self.text(name).map(parse).transpose()
    }

    /// Reads a point in time: a whole number that is not negative.
    pub fn time(&self, name: &str) -> Result<Option<i64>, VendorError> {
        match self.number(name)? {
            Some(negative) if negative < 0 => Err(VendorError::bad_request(format!("{name} must not be negative"))),
            time => Ok(time),
        }
    }

    /// Reads `limit`: 1 to 100.
    pub fn limit(&self) -> Result<usize, VendorError> {
        let limit = self.number("limit")?.unwrap_or(50);
        let inside = usize::try_from(limit).ok().filter(|limit| (1..=100).contains(limit));
        inside.ok_or_else(|| VendorError::bad_request("limit must be between 1 and 100"))
    }

    /// Reads a UUID.
    pub fn uuid(&self, name: &str) -> Result<Option<Uuid>, VendorError> {
        self.text(name).map(|text| uuid(name, text)).transpose()
    }

    /// Reads `true`, `false` or nothing.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, VendorError> {
        let parse = |text: &str| match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(VendorError::bad_request(format!("{name} must be true or false"))),
        };
        self.text(name).map(parse).transpose()
    }

    /// Returns true if `direction` points to newer entries: `next` is older, `previous` is newer.
    pub fn towards_newer(&self) -> Result<bool, VendorError> {
        match self.text("direction") {
            None | Some("next") => Ok(false),
            Some("previous") => Ok(true),
            Some(_) => Err(VendorError::bad_request("direction must be next or previous")),
        }
    }
}

/// Parses a UUID, or returns the vendor's refusal.
pub fn uuid(name: &str, text: &str) -> Result<Uuid, VendorError> {
    Uuid::parse_str(text).map_err(|_| VendorError::bad_request(format!("{name} must be a UUID")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_in_three_spellings() {
        let query = Query::parse("source=widget,ui&source=zendesk&source%5B%5D=slack&sourcex=no");
        assert_eq!(query.list("source"), ["widget", "ui", "zendesk", "slack"]);
        assert!(query.list("channel").is_empty());
    }

    #[test]
    fn limits_have_bounds() {
        assert_eq!(Query::parse("").limit(), Ok(50));
        assert_eq!(Query::parse("limit=1").limit(), Ok(1));
        assert_eq!(Query::parse("limit=100").limit(), Ok(100));
        for wrong in ["limit=0", "limit=101", "limit=-1", "limit=ten", "limit=1.5"] {
            assert_eq!(Query::parse(wrong).limit().map_err(|error| error.status), Err(400), "{wrong}");
        }
    }

    #[test]
    fn directions_are_the_other_way_round() {
        assert_eq!(Query::parse("direction=next").towards_newer(), Ok(false));
        assert_eq!(Query::parse("direction=previous").towards_newer(), Ok(true));
        assert!(Query::parse("direction=up").towards_newer().is_err());
    }
}
