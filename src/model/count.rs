use std::fmt::Display;

/// A number of things in words: "1 job", "2 jobs", "0 processes".
pub fn count<N: Display + PartialEq + From<u8>>(n: N, word: &str) -> String {
    let ending = match (n == N::from(1), word.ends_with('s')) {
        (true, _) => "",
        (false, false) => "s",
        (false, true) => "es",
    };
    format!("{n} {word}{ending}")
}

/// The decimal digits of a number, without allocating.
pub fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_number() {
        for number in [0, 9, 10, 1_234_567_890, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
        }
    }

    #[test]
    fn one_thing_is_no_plural() {
        let all = [count(0_u64, "job"), count(1_usize, "job"), count(2_i64, "job"), count(1_u64, "process")];
        assert_eq!(all, ["0 jobs", "1 job", "2 jobs", "1 process"]);
        assert_eq!(count(3_u64, "process"), "3 processes");
    }
}
