//! The rule that a request over HTTP/1.1 says once for which host it is (RFC 9112, 3.2).
//!
//! This server has one host and cares for none. But whoever stands in front of it may, and two who
//! read a request's host differently can be played off against each other.

use hyper::header::HOST;
use hyper::{HeaderMap, Version};

use super::respond::Failure;

/// Checks the count of `Host` headers.
///
/// # Errors
/// There are several, or none where there must be one.
pub fn check(version: Version, headers: &HeaderMap) -> Result<(), Failure> {
    if version >= Version::HTTP_2 {
        return Ok(());
    }
    let mut hosts = headers.get_all(HOST).iter();
    let is_optional = version < Version::HTTP_11;
    match (hosts.next(), hosts.next()) {
        (Some(_), None) => Ok(()),
        (None, _) if is_optional => Ok(()),
        (first, second) => {
            let count = [first, second].into_iter().flatten().count() + hosts.count();
            Err(Failure::WrongHost { count })
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn there_is_one_host_and_over_older_and_newer_versions_perhaps_none() {
        for (version, allowed) in [
            (Version::HTTP_10, [true, true, false, false]),
            (Version::HTTP_11, [false, true, false, false]),
            (Version::HTTP_2, [true; 4]),
        ] {
            for (count, allowed) in allowed.into_iter().enumerate() {
                let mut headers = HeaderMap::new();
                (0..count).for_each(|_| {
                    headers.append(HOST, HeaderValue::from_static("a"));
                });
                let refusal = check(version, &headers).err().map(|error| error.to_string());
                let expected = format!("expected one Host header, got {count}");
                assert_eq!(refusal, (!allowed).then_some(expected), "{version:?}");
            }
        }
    }
}
