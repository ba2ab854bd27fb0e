//! Operators and their rights. Pure.

/// An operator's rights; each role includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Read.
    Read,
    /// Act: pause, replay, settle.
    Operate,
    /// Erase what people said.
    Erase,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Operate, Self::Erase];

    /// Returns the name it is configured and shown under.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Erase => "erase",
        }
    }
}

/// A caller of the operators' API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// The name that the audit shows.
    pub name: String,
    /// Its rights.
    pub role: Role,
    /// True if it may see what people wrote.
    pub texts: bool,
}

impl Operator {
    /// Returns an operator who may do everything, under this name.
    pub fn almighty(name: &str) -> Self {
        Self { name: name.to_owned(), role: Role::Erase, texts: true }
    }

    /// Returns why a request is refused that needs this role, and texts if `with_texts` is true; `None` if it is allowed.
    pub fn refusal(&self, role: Role, with_texts: bool) -> Option<String> {
        if self.role < role {
            return Some(format!("this takes the role {}, and yours is {}", role.as_str(), self.role.as_str()));
        }
        (with_texts && !self.texts).then(|| "texts are not shown to you".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_may_what_lesser_ones_may_and_no_more() {
        for (number, role) in Role::ALL.into_iter().enumerate() {
            for (other, wanted) in Role::ALL.into_iter().enumerate() {
                let operator = Operator { name: "ada".to_owned(), role, texts: false };
                assert_eq!(operator.refusal(wanted, false).is_none(), other <= number, "{role:?} {wanted:?}");
                assert!(operator.refusal(wanted, true).is_some(), "texts are apart");
            }
        }
        assert_eq!(Operator::almighty("admin").refusal(Role::Erase, true), None);
    }
}
