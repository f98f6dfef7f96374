//! What a phrase of a lexicon does, which is what phrases are counted by.

use serde::Deserialize;

/// What a phrase does. Booster is the opposite of a hedge and counted beside them; modal (what would, could or must be,
/// and conditions) is counted if asked for; lecture (what is important, or not appropriate) and offer (what announces an
/// answer) are looked for if a stance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Epistemic,
    BothSides,
    Deflection,
    AiDisclaimer,
    Caveat,
    NonAffirmation,
    Refusal,
    Booster,
    Modal,
    Lecture,
    Offer,
}

impl Kind {
    /// Every kind, in the order of the columns.
    pub const ALL: [Self; 11] = [
        Self::Epistemic,
        Self::BothSides,
        Self::Deflection,
        Self::AiDisclaimer,
        Self::Caveat,
        Self::NonAffirmation,
        Self::Refusal,
        Self::Booster,
        Self::Modal,
        Self::Lecture,
        Self::Offer,
    ];

    /// The name in lexicons and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        [
            "epistemic",
            "both_sides",
            "deflection",
            "ai_disclaimer",
            "caveat",
            "non_affirmation",
            "refusal",
            "booster",
            "modal",
            "lecture",
            "offer",
        ][self as usize]
    }

    /// Whether the phrase is looked for only where a stance is asked for.
    #[must_use]
    pub fn is_of_stance(self) -> bool {
        matches!(self, Self::Lecture | Self::Offer)
    }

    /// Whether the phrase hedges what is said.
    #[must_use]
    pub fn is_hedge(self) -> bool {
        !matches!(
            self,
            Self::Booster | Self::Modal | Self::Lecture | Self::Offer
        )
    }

    /// Whether the phrase takes the place of an answer.
    #[must_use]
    pub fn is_evasive(self) -> bool {
        matches!(
            self,
            Self::BothSides
                | Self::Deflection
                | Self::AiDisclaimer
                | Self::NonAffirmation
                | Self::Refusal
        )
    }
}
