//! One factor for every deadline: `WEFT_PATIENCE`, for machines that are many times slower than the deadlines assume,
//! such as emulated ones.

use std::sync::OnceLock;
use std::time::Duration;

/// The variable.
pub const VARIABLE: &str = "WEFT_PATIENCE";
/// Larger factors would turn minutes into days, and are mistakes.
const MOST: f64 = 1000.0;

/// The variable holds no factor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{VARIABLE}={0:?}: the factor of all deadlines is a number from 1 to {MOST}")]
pub struct Invalid(String);

/// The deadline as it is on this machine.
///
/// # Panics
/// If the variable is not a factor; programs call [`factor`] first.
pub fn patient(deadline: Duration) -> Duration {
    match factor() {
        Ok(factor) => deadline.mul_f64(factor),
        Err(invalid) => panic!("{invalid}"),
    }
}

/// The factor, read once; 1 if the variable is not set or empty.
pub fn factor() -> Result<f64, Invalid> {
    static FACTOR: OnceLock<Result<f64, Invalid>> = OnceLock::new();
    FACTOR
        .get_or_init(|| match std::env::var_os(VARIABLE) {
            None => Ok(1.0),
            Some(text) => parse(&text.to_string_lossy()),
        })
        .clone()
}

fn parse(text: &str) -> Result<f64, Invalid> {
    if text.is_empty() {
        return Ok(1.0);
    }
    let number = text.parse().ok();
    number
        .filter(|factor| (1.0..=MOST).contains(factor))
        .ok_or_else(|| Invalid(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_factor_is_a_number_of_at_least_one() {
        assert_eq!(parse(""), Ok(1.0));
        assert_eq!(parse("10"), Ok(10.0));
        assert_eq!(parse("2.5"), Ok(2.5));
        for wrong in ["0", "0.9", "-3", "x", "10 ", "nan", "inf", "1001"] {
            let said = parse(wrong).expect_err(wrong).to_string();
            assert!(said.contains("WEFT_PATIENCE") && said.contains(wrong));
        }
    }
}
