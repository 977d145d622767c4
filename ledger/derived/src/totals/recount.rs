//! Totals recomputed from the rows of the ledger, beside those that are there.
//!
//! Invariant: what is there is only read.

use super::cover::Cover;
use super::error::TotalsError;
use super::maker::{Caught, Progress, make_in};
use super::part::Part;
use super::segment::Segment;
use ledger::{Location, places};
use std::collections::BTreeMap;

/// What a recount has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recounted {
    /// A sentence for each thing that is not what the rows say.
    pub findings: Vec<String>,
}

/// Makes the totals of a ledger anew in a folder of this process, and compares them with those that
/// are there.
///
/// # Errors
/// When rows cannot be read or storage fails.
pub async fn recount(
    ledger: &Location,
    caught: &Caught,
    progress: &mut Progress<'_>,
) -> Result<Recounted, TotalsError> {
    let scratch = places::derived(ledger).join(&format!("recount.{}", std::process::id()));
    let made = make_in(ledger, &scratch, caught.leaf(), progress).await;
    let made = match made {
        Ok(made) => made,
        Err(error) => {
            scratch.remove_folder().await?;
            return Err(error);
        }
    };
    let compared = compare(caught, &made).await;
    drop(made);
    scratch.remove_folder().await?;
    compared
}

async fn compare(caught: &Caught, made: &Caught) -> Result<Recounted, TotalsError> {
    let mut findings = Vec::new();
    let versions = caught.versions();
    // Which of several shards has an id first depends on the order in which they were folded.
    let crossing = |caught: &Caught| caught.control().meters.values().any(|meter| meter.crossing.events > 0);
    let exact = !crossing(caught) && !crossing(made);
    let (here, anew): (Cover, Cover) = (caught.cover(&versions)?, made.cover(&versions)?);
    for (number, (here, anew)) in here.shards.iter().zip(&anew.shards).enumerate() {
        let known: BTreeMap<_, &Segment> = here.leaves().map(|leaf| (leaf.block(), leaf)).collect();
        for segment in anew.leaves() {
            let place = format!(
                "shard {}, versions {} to {}",
                number + 1,
                segment.block().first(),
                segment.block().last()
            );
            let Some(known) = known.get(&segment.block()) else {
                findings.push(format!("{place}: there is no segment"));
                continue;
            };
            let usage = |segment: &Segment| {
                let meters = segment.control.meters.iter();
                meters.map(|(meter, control)| (meter.clone(), control.usage)).collect::<BTreeMap<_, _>>()
            };
            if !exact {
                if usage(known) != usage(segment) {
                    findings.push(format!("{place}: the control totals are not those of the rows"));
                }
                continue;
            }
            if known.control != segment.control {
                findings.push(format!("{place}: the control totals are not those of the rows"));
            }
            let digests =
                |parts: [&Option<Part>; 5]| parts.map(|part| part.as_ref().map(|part| part.sha256.clone()));
            let of = |Segment { cells, samples, months, repeats, spans, .. }: &Segment| {
                digests([cells, samples, months, repeats, spans])
            };
            if of(known) != of(segment) {
                findings.push(format!("{place}: the totals are not those of the rows"));
            }
        }
    }
    // The files that are there are read as a run reads them.
    for shard in &here.shards {
        for part in shard.leaves().flat_map(Segment::parts).chain(shard.months()) {
            if let Err(error) = here.check(part).await {
                findings.push(error.to_string());
            }
        }
    }
    Ok(Recounted { findings })
}
