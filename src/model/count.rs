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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_no_plural() {
        let all = [count(0_u64, "job"), count(1_usize, "job"), count(2_i64, "job"), count(1_u64, "process")];
        assert_eq!(all, ["0 jobs", "1 job", "2 jobs", "1 process"]);
        assert_eq!(count(3_u64, "process"), "3 processes");
    }
}
