//! What is asked of single values, and how AWS words that one is not as it must be.

use ecsr_api::elbv2::{Error, ErrorCode};

/// Most characters of a load balancer's or a target group's name, as ELBv2 has it.
const NAME_CHARS_MAX: usize = 32;

/// A request that says something which cannot be.
pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::ValidationError, message)
}

/// A request for something that contradicts what there is, or itself.
pub(super) fn unfit(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::InvalidConfigurationRequest, message)
}

/// Something of ELBv2 that is not here.
pub(super) fn unsupported(what: &str) -> Error {
    Error::new(ErrorCode::OperationNotPermitted, format!("{what} not supported by this endpoint"))
}

/// What a request must have.
pub(super) fn required<T>(value: Option<T>, member: &str) -> Result<T, Error> {
    value.ok_or_else(|| unsatisfied("null", member, "Member must not be null"))
}

/// A list that a request must have, with something in it.
pub(super) fn items<T>(list: Option<Vec<T>>, member: &str) -> Result<Vec<T>, Error> {
    let list = required(list, member)?;
    if list.is_empty() {
        return Err(unsatisfied("'[]'", member, "Member must have length greater than or equal to 1"));
    }
    Ok(list)
}

/// A list to choose by; an empty one chooses nothing and leaves everything.
pub(super) fn filter<T>(list: Option<Vec<T>>) -> Option<Vec<T>> {
    list.filter(|list| !list.is_empty())
}

/// A number within bounds.
pub(super) fn within(value: i32, member: &str, min: u32, max: u32) -> Result<u32, Error> {
    let shown = format!("'{value}'");
    let number = u32::try_from(value).ok().filter(|number| *number >= min);
    let number = number.ok_or_else(|| {
        unsatisfied(&shown, member, &format!("Member must have value greater than or equal to {min}"))
    })?;
    if number > max {
        let rule = format!("Member must have value less than or equal to {max}");
        return Err(unsatisfied(&shown, member, &rule));
    }
    Ok(number)
}

/// A port.
pub(super) fn port(value: i32) -> Result<u16, Error> {
    let port = within(value, "port", 1, u16::MAX.into())?;
    Ok(u16::try_from(port).expect("it is no larger than the largest port"))
}

/// One of the words that are allowed.
pub(super) fn one_of(value: &str, member: &str, words: &[&str]) -> Result<(), Error> {
    if words.contains(&value) {
        return Ok(());
    }
    let rule = format!("Member must satisfy enum value set: [{}]", words.join(", "));
    Err(unsatisfied(&format!("'{value}'"), member, &rule))
}

/// The name of a `what`.
pub(super) fn name(what: &str, name: &str) -> Result<(), Error> {
    let refused = |rule: &str| Err(invalid(format!("{what} name '{name}' {rule}")));
    if name.is_empty() {
        return Err(unsatisfied("''", "name", "Member must have length greater than or equal to 1"));
    }
    if name.chars().count() > NAME_CHARS_MAX {
        return refused(&format!("cannot be longer than '{NAME_CHARS_MAX}' characters"));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return refused("can only contain characters that are alphanumeric characters and hyphens(-)");
    }
    if name.starts_with('-') || name.ends_with('-') {
        return refused("cannot begin or end with '-'");
    }
    Ok(())
}

fn unsatisfied(value: &str, member: &str, rule: &str) -> Error {
    invalid(format!(
        "1 validation error detected: Value {value} at '{member}' failed to satisfy constraint: {rule}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_refused_in_the_words_of_aws() {
        assert_eq!(port(80), Ok(80));
        let refused = port(0).unwrap_err();
        assert_eq!(
            refused.message,
            "1 validation error detected: Value '0' at 'port' failed to satisfy constraint: Member must have value \
             greater than or equal to 1"
        );
        assert!(port(65536).unwrap_err().message.ends_with("less than or equal to 65535"));
        assert!(port(-1).is_err());
        assert_eq!(
            one_of("x", "protocol", &["HTTP", "TCP"]).unwrap_err().message,
            "1 validation error detected: Value 'x' at 'protocol' failed to satisfy constraint: Member must satisfy \
             enum value set: [HTTP, TCP]"
        );
        for bad in ["", "-a", "a-", "a_b", "ü", &"a".repeat(33)] {
            assert!(name("Target group", bad).is_err(), "{bad}");
        }
        let long = "a".repeat(33);
        assert_eq!(
            name("Target group", &long).unwrap_err().message,
            format!("Target group name '{long}' cannot be longer than '32' characters")
        );
        assert_eq!(name("Target group", "web-1"), Ok(()));
    }
}
