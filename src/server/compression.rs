//! gzip, deflate and zstd, both ways.

use std::io::{self, Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue, VARY};
use hyper::{HeaderMap, Response};
use smallvec::SmallVec;

use super::inflight::{Hold, InflightFull};
use super::response_body::Answer;

/// Responses below this are not worth compressing: they fit in a packet or two anyway.
const MIN_COMPRESSED_BYTES: usize = 1024;
/// zstd's fastest ordinary level: the processor is wanted by the models.
const ZSTD_LEVEL: i32 = 1;
/// Room that is asked for at a time while a body is decompressed.
const DECODED_PIECE: usize = 256 * 1024;
/// zstd windows that a decoder must at least support.
const ZSTD_MIN_WINDOW_LOG: u32 = 23;
/// Beyond this zstd itself wants to be asked twice.
const ZSTD_MAX_WINDOW_LOG: u32 = 27;

/// A coding of a body, by its name in HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Gzip,
    Deflate,
    Zstd,
}

/// Why a compressed body is refused.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("the body is more than {limit} bytes once decompressed")]
    TooLarge { limit: usize },
    #[error("the body is not valid {encoding}: {reason}")]
    Corrupt { encoding: &'static str, reason: String },
    #[error(transparent)]
    Full(#[from] InflightFull),
}

impl Encoding {
    /// The best first, where a client likes several equally.
    const ALL: [Encoding; 3] = [Encoding::Zstd, Encoding::Gzip, Encoding::Deflate];

    pub fn name(self) -> &'static str {
        match self {
            Encoding::Gzip => "gzip",
            Encoding::Deflate => "deflate",
            Encoding::Zstd => "zstd",
        }
    }

    /// The coding of a `Content-Encoding`, `Some(None)` for none at all, `None` for one that is
    /// not known.
    pub fn of_content(value: &str) -> Option<Option<Encoding>> {
        let value = value.trim();
        if value.is_empty() || value.eq_ignore_ascii_case("identity") {
            return Some(None);
        }
        Encoding::named(value).map(Some)
    }

    /// The coding that an `Accept-Encoding` likes best, or `None` where it likes the plain body.
    pub fn of_accept(value: &str) -> Option<Encoding> {
        let mut weights = [None; Encoding::ALL.len()];
        let mut rest = None;
        let mut plain = None;
        for entry in value.split(',') {
            let (name, weight) = weighted(entry);
            if name == "*" {
                rest = Some(weight);
            } else if name.eq_ignore_ascii_case("identity") {
                plain = Some(weight);
            } else if let Some(encoding) = Encoding::named(name) {
                weights[encoding.place()] = Some(weight);
            }
        }
        let mut best = None;
        let mut best_weight = plain.unwrap_or(0.0);
        for encoding in Encoding::ALL {
            let weight = weights[encoding.place()].or(rest).unwrap_or(0.0);
            let wins = weight > best_weight || (best.is_none() && weight == best_weight);
            if weight > 0.0 && wins {
                best = Some(encoding);
                best_weight = weight;
            }
        }
        best
    }

    fn named(name: &str) -> Option<Encoding> {
        let name = name.strip_prefix("x-").unwrap_or(name);
        Encoding::ALL.into_iter().find(|encoding| encoding.name().eq_ignore_ascii_case(name))
    }

    fn place(self) -> usize {
        Encoding::ALL
            .into_iter()
            .position(|encoding| encoding == self)
            .expect("every encoding is in the list")
    }

    /// Decompresses a body, up to `limit` bytes and as far as `held` can grow.
    ///
    /// # Errors
    /// The body is corrupt, cut short, or larger than the limit, or there is no room for it.
    pub fn decode(
        self,
        body: &[u8],
        limit: usize,
        held: &mut Hold<'_>,
    ) -> Result<Bytes, DecodeError> {
        let corrupt = |error: io::Error| DecodeError::Corrupt {
            encoding: self.name(),
            reason: error.to_string(),
        };
        match self {
            Encoding::Gzip => self.collect(MultiGzDecoder::new(body), limit, held),
            // The name means a zlib stream, but some clients send a bare one.
            Encoding::Deflate if is_zlib(body) => self.collect(ZlibDecoder::new(body), limit, held),
            Encoding::Deflate => self.collect(DeflateDecoder::new(body), limit, held),
            Encoding::Zstd => {
                let mut decoder =
                    zstd::stream::read::Decoder::with_buffer(body).map_err(corrupt)?;
                // The window is memory that a few bytes of body can ask for.
                let window = usize::BITS - limit.leading_zeros();
                let window = window.clamp(ZSTD_MIN_WINDOW_LOG, ZSTD_MAX_WINDOW_LOG);
                decoder.window_log_max(window).map_err(corrupt)?;
                self.collect(decoder, limit, held)
            }
        }
    }

    /// Reads a decoder to its end, piece by piece: what its body says of its length is no promise.
    fn collect(
        self,
        mut decoder: impl Read,
        limit: usize,
        held: &mut Hold<'_>,
    ) -> Result<Bytes, DecodeError> {
        let mut decoded = Vec::new();
        loop {
            // One byte more than allowed tells a body at the limit from one beyond it.
            let piece = DECODED_PIECE.min(limit - decoded.len() + 1);
            held.grow(piece)?;
            let mut reader = decoder.by_ref().take(piece as u64);
            let read = reader.read_to_end(&mut decoded).map_err(|error| DecodeError::Corrupt {
                encoding: self.name(),
                reason: error.to_string(),
            })?;
            if decoded.len() > limit {
                return Err(DecodeError::TooLarge { limit });
            }
            if read < piece {
                held.shrink_to(decoded.len());
                return Ok(Bytes::from(decoded));
            }
        }
    }

    /// Compresses a body given in parts.
    ///
    /// # Errors
    /// The codec failed, which none does on memory.
    pub fn encode(self, parts: &[Bytes]) -> io::Result<Bytes> {
        let compressed = match self {
            Encoding::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                parts.iter().try_for_each(|part| encoder.write_all(part))?;
                encoder.finish()?
            }
            Encoding::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
                parts.iter().try_for_each(|part| encoder.write_all(part))?;
                encoder.finish()?
            }
            Encoding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
                parts.iter().try_for_each(|part| encoder.write_all(part))?;
                encoder.finish()?
            }
        };
        Ok(Bytes::from(compressed))
    }
}

/// Which codings a client takes in a response.
#[derive(Clone, Copy, Debug)]
pub enum Encodings {
    /// It says nothing: a plain body, whoever else asks for the same.
    Unsaid,
    /// What it likes best, `None` for a plain body.
    Best(Option<Encoding>),
}

impl Encodings {
    pub fn of(headers: &HeaderMap) -> Encodings {
        match headers.get(ACCEPT_ENCODING) {
            None => Encodings::Unsaid,
            Some(value) => Encodings::Best(value.to_str().ok().and_then(Encoding::of_accept)),
        }
    }
}

/// Compresses a response that is large enough, where the client asks for it and nobody has done
/// it yet.
pub fn compress(response: &mut Response<Answer>, accepted: Encodings) {
    let Encodings::Best(best) = accepted else { return };
    if response.body().len() < MIN_COMPRESSED_BYTES || response.headers().contains_key(VARY) {
        return;
    }
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
    let Some(encoding) = best else { return };
    // On failure the plain body is as good an answer.
    let Ok(compressed) = encoding.encode(&response.body().parts) else { return };
    response.body_mut().parts = SmallVec::from_iter([compressed]);
    let name = HeaderValue::from_static(encoding.name());
    response.headers_mut().insert(CONTENT_ENCODING, name);
}

/// Name and weight of one entry of an `Accept-Encoding`; a weight that cannot be read is 0.
fn weighted(entry: &str) -> (&str, f32) {
    let mut parameters = entry.split(';').map(str::trim);
    let name = parameters.next().unwrap_or_default();
    let weight = parameters
        .find_map(|parameter| parameter.strip_prefix("q=").or(parameter.strip_prefix("Q=")))
        .map_or(1.0, |weight| weight.parse::<f32>().unwrap_or(0.0));
    (name, if weight.is_finite() { weight } else { 0.0 })
}

/// Whether a deflate body has zlib's header: method 8, and a check sum over two bytes.
fn is_zlib(body: &[u8]) -> bool {
    matches!(body, [method, flags, ..]
        if method & 0x0f == 8 && (u16::from(*method) * 256 + u16::from(*flags)).is_multiple_of(31))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::inflight::Inflight;

    /// Where there is room for anything.
    fn decode(encoding: Encoding, body: &[u8], limit: usize) -> Result<Bytes, DecodeError> {
        encoding.decode(body, limit, &mut Inflight::new(usize::MAX).hold())
    }

    #[test]
    fn every_encoding_comes_back() {
        let parts = [Bytes::from(vec![7u8; 3000]), Bytes::from_static(b"the end")];
        for encoding in Encoding::ALL {
            let compressed = encoding.encode(&parts).expect("memory takes it");
            assert!(compressed.len() < 3007, "{encoding:?}");
            let plain = decode(encoding, &compressed, 3007).expect("at the limit");
            assert_eq!(plain, parts.concat(), "{encoding:?}");
            let refused = decode(encoding, &compressed, 3006).expect_err("beyond the limit");
            assert!(matches!(refused, DecodeError::TooLarge { limit: 3006 }), "{encoding:?}");
        }
    }

    #[test]
    fn a_bomb_is_refused_without_being_unpacked() {
        let zeros = [Bytes::from(vec![0u8; 50_000_000])];
        for encoding in Encoding::ALL {
            let bomb = encoding.encode(&zeros).expect("memory takes it");
            assert!(bomb.len() < 1_000_000, "{encoding:?}");
            let refused = decode(encoding, &bomb, 1_000_000);
            assert!(matches!(refused, Err(DecodeError::TooLarge { .. })), "{encoding:?}");
        }
    }

    #[test]
    fn what_is_decompressed_is_held_and_stops_where_there_is_no_room() {
        let plain = [Bytes::from(vec![3u8; 600_000])];
        let inflight = Inflight::new(1_000_000);
        for encoding in Encoding::ALL {
            let compressed = encoding.encode(&plain).expect("memory takes it");
            let mut held = inflight.hold();
            encoding.decode(&compressed, 10_000_000, &mut held).expect("there is room");
            assert_eq!(inflight.bytes(), 600_000, "{encoding:?}");
            let refused = encoding.decode(&compressed, 10_000_000, &mut inflight.hold());
            assert!(matches!(refused, Err(DecodeError::Full(_))), "{encoding:?}");
            drop(held);
            assert_eq!(inflight.bytes(), 0, "{encoding:?}");
        }
    }

    #[test]
    fn a_corrupt_or_cut_body_is_refused() {
        for encoding in Encoding::ALL {
            let whole = encoding.encode(&[Bytes::from(vec![9u8; 100])]).expect("memory takes it");
            let cut = &whole[..whole.len() - 6];
            let refused = decode(encoding, cut, 1000).expect_err("cut short").to_string();
            assert!(refused.starts_with("the body is not valid"), "{encoding:?}: {refused}");
            assert!(decode(encoding, b"\xff\xfe\xfd\xfc plain", 1000).is_err(), "{encoding:?}");
        }
    }

    #[test]
    fn a_bare_deflate_stream_is_read_too() {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(b"bare").expect("memory takes it");
        let bare = encoder.finish().expect("memory takes it");
        assert_eq!(decode(Encoding::Deflate, &bare, 10).expect("readable"), "bare");
    }

    #[test]
    fn the_client_chooses_by_weight() {
        let rows = [
            ("", None),
            ("gzip", Some(Encoding::Gzip)),
            ("gzip, deflate, br, zstd", Some(Encoding::Zstd)),
            ("gzip, deflate", Some(Encoding::Gzip)),
            ("gzip;q=0.2, deflate;q=0.9", Some(Encoding::Deflate)),
            ("zstd;q=0, gzip", Some(Encoding::Gzip)),
            ("gzip;q=0", None),
            ("identity, gzip;q=0.5", None),
            ("identity;q=0, *", Some(Encoding::Zstd)),
            ("*;q=0", None),
            ("*, zstd;q=0", Some(Encoding::Gzip)),
            ("br", None),
            ("x-gzip", Some(Encoding::Gzip)),
            ("gzip;q=high", None),
        ];
        for (header, expected) in rows {
            assert_eq!(Encoding::of_accept(header), expected, "{header:?}");
        }
    }

    #[test]
    fn content_codings_are_known_or_refused() {
        assert_eq!(Encoding::of_content("GZIP"), Some(Some(Encoding::Gzip)));
        assert_eq!(Encoding::of_content("identity"), Some(None));
        assert_eq!(Encoding::of_content("br"), None);
        assert_eq!(Encoding::of_content("gzip, zstd"), None);
    }
}
