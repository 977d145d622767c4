//! What a key of the list says is priced: which events, of which kind, in which service, above which
//! length of a prompt.
//!
//! Only the name is looked at, and deliberately not the number.
//!
//! Invariant: a key is read whole or not at all; no part of a name is passed over.

use super::meters::Counted;

/// What a price of the list is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Priced {
    pub counted: Counted,
    /// The value of the dimension `kind`.
    pub kind: &'static str,
    /// The value of the dimension `service`.
    pub service: &'static str,
    /// The tokens that a prompt must exceed; 0 for every prompt.
    pub above: u64,
}

/// The service of a key that names none.
pub(super) const STANDARD: &str = "standard";

/// How the last word of a key names a service.
const SERVICES: &[(&str, &str)] = &[
    ("_batches", "batch"),
    ("_flex", "flex"),
    ("_priority", "priority"),
    ("_balanced", "balanced"),
    ("_ultrafast", "ultrafast"),
];

/// What is counted, by the key without service and length.
const KEYS: &[(&str, Counted, &str)] = &[
    ("input_cost_per_token", Counted::Tokens, "input"),
    ("output_cost_per_token", Counted::Tokens, "output"),
    ("output_cost_per_reasoning_token", Counted::Tokens, "reasoning"),
    ("citation_cost_per_token", Counted::Tokens, "citation"),
    ("cache_read_input_token_cost", Counted::Tokens, "cache-read"),
    ("input_cost_per_token_cache_hit", Counted::Tokens, "cache-read"),
    ("cache_creation_input_token_cost", Counted::Tokens, "cache-write"),
    ("cache_creation_input_token_cost_above_1hr", Counted::Tokens, "cache-write-1h"),
    ("cache_creation_input_token_cost_above_12hr", Counted::Tokens, "cache-write-12h"),
    ("input_cost_per_audio_token", Counted::Tokens, "audio-input"),
    ("output_cost_per_audio_token", Counted::Tokens, "audio-output"),
    ("cache_read_input_audio_token_cost", Counted::Tokens, "audio-cache-read"),
    ("cache_creation_input_audio_token_cost", Counted::Tokens, "audio-cache-write"),
    ("input_cost_per_image_token", Counted::Tokens, "image-input"),
    ("output_cost_per_image_token", Counted::Tokens, "image-output"),
    ("cache_read_input_image_token_cost", Counted::Tokens, "image-cache-read"),
    ("input_cost_per_video_token", Counted::Tokens, "video-input"),
    ("output_cost_per_video_token", Counted::Tokens, "video-output"),
    ("input_cost_per_character", Counted::Characters, "input"),
    ("output_cost_per_character", Counted::Characters, "output"),
    ("input_cost_per_second", Counted::Seconds, "input"),
    ("output_cost_per_second", Counted::Seconds, "output"),
    ("input_cost_per_audio_per_second", Counted::Seconds, "audio-input"),
    ("input_cost_per_video_per_second", Counted::Seconds, "video-input"),
    ("output_cost_per_video_per_second", Counted::Seconds, "video-output"),
    ("input_cost_per_image", Counted::Images, "input"),
    ("output_cost_per_image", Counted::Images, "output"),
    ("input_cost_per_pixel", Counted::Pixels, "input"),
    ("output_cost_per_pixel", Counted::Pixels, "output"),
    ("ocr_cost_per_page", Counted::Pages, "ocr"),
    ("annotation_cost_per_page", Counted::Pages, "annotation"),
    ("input_cost_per_request", Counted::Requests, "request"),
    ("input_cost_per_query", Counted::Requests, "query"),
    ("input_cost_per_text_message", Counted::Requests, "message"),
    ("google_maps_grounding_cost_per_query", Counted::Requests, "maps"),
    ("code_interpreter_cost_per_session", Counted::Requests, "code-session"),
];

/// The members of `search_context_cost_per_query`.
const SEARCHES: &[(&str, &str)] = &[
    ("search_context_size_low", "search-low"),
    ("search_context_size_medium", "search-medium"),
    ("search_context_size_high", "search-high"),
];

impl Priced {
    /// What a key is for; `None` where it is not known here.
    pub fn of(key: &str) -> Option<Self> {
        let ends = |(end, service): &(&str, &'static str)| Some((key.strip_suffix(*end)?, *service));
        let (rest, service) = SERVICES.iter().find_map(ends).unwrap_or((key, STANDARD));
        let (rest, above) = match rest.strip_suffix("k_tokens").and_then(|rest| rest.rsplit_once("_above_")) {
            Some((rest, thousands)) => (rest, thousands.parse::<u32>().ok().filter(|many| *many > 0)?),
            None => (rest, 0),
        };
        let (_, counted, kind) = KEYS.iter().find(|(key, _, _)| *key == rest)?;
        Some(Self { counted: *counted, kind, service, above: u64::from(above) * 1000 })
    }

    /// What a member of `search_context_cost_per_query` is for.
    pub fn of_search(member: &str) -> Option<Self> {
        let (_, kind) = SEARCHES.iter().find(|(name, _)| *name == member)?;
        Some(Self { counted: Counted::Requests, kind, service: STANDARD, above: 0 })
    }
}

/// Whether a key that is not known here says something about prices, as far as its name shows it.
pub(super) fn is_about_prices(key: &str) -> bool {
    const WORDS: &[&str] =
        &["cost", "pric", "multiplier", "search_free", "billing", "discount", "surcharge", "alias_of"];
    WORDS.iter().any(|word| key.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: &str, expected: Option<(Counted, &str, &str, u64)>) {
        let read = Priced::of(key).map(|of| (of.counted, of.kind, of.service, of.above));
        assert_eq!(read, expected, "{key}");
    }

    #[test]
    fn a_key_is_read_whole_or_not_at_all() {
        let tokens = Counted::Tokens;
        check("input_cost_per_token", Some((tokens, "input", "standard", 0)));
        check("input_cost_per_token_batches", Some((tokens, "input", "batch", 0)));
        check("output_cost_per_token_above_128k_tokens", Some((tokens, "output", "standard", 128_000)));
        check(
            "cache_creation_input_token_cost_above_1hr_above_200k_tokens_priority",
            Some((tokens, "cache-write-1h", "priority", 200_000)),
        );
        check("input_cost_per_video_per_second", Some((Counted::Seconds, "video-input", "standard", 0)));
        for unknown in [
            "input_cost_per_video_per_second_above_15s_interval",
            "output_cost_per_second_1080p",
            "input_dbu_cost_per_token",
            "input_cost_per_token_above_0k_tokens",
            "input_cost_per_token_above_manyk_tokens",
            "input_cost_per_token_flex_batches",
            "input_cost_per_token_decisions",
            "cost",
        ] {
            check(unknown, None);
        }
    }

    #[test]
    fn every_key_is_another_price_but_for_the_second_name_of_one() {
        let mut seen: Vec<_> = KEYS.iter().map(|(_, counted, kind)| (counted, kind)).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), KEYS.len() - 1);
    }

    #[test]
    fn what_else_is_about_prices_is_told() {
        for key in ["off_peak_pricing", "fedramp_uplift_multiplier", "search_free_requests"] {
            assert!(is_about_prices(key), "{key}");
        }
        for key in ["max_tokens", "supports_vision", "mode", "rpm", "source"] {
            assert!(!is_about_prices(key), "{key}");
        }
    }
}
