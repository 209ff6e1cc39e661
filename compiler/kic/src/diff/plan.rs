//! What the plans say differently: the cluster, the cached images, the steps.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::json::{fields, without};
use super::secrets::{HIDDEN, holds_secret};
use super::sequence::{Step, steps};
use super::{Change, Difference, Value};

pub(super) fn diff(left: Option<&Json>, right: Option<&Json>) -> Vec<Difference> {
    let (left, right) = match (left, right) {
        (None, None) => return Vec::new(),
        (Some(_), None) => return vec![Difference::new(Change::Removed, "plan", "the launch plan")],
        (None, Some(_)) => return vec![Difference::new(Change::Added, "plan", "the launch plan")],
        (Some(left), Some(right)) => (left, right),
    };
    let mut parts = Vec::new();
    parts.extend(Difference::group("images", "cached images", images(left, right)));
    // The cluster, its registries, the version of the plan.
    let rest = |plan: &Json| without(plan, &["images", "steps"]);
    parts.extend(Difference::group("cluster", "cluster", fields(&rest(left), &rest(right))));
    parts.extend(Difference::group("plan", "launch plan", plan_steps(left, right)));
    parts
}

fn list<'a>(plan: &'a Json, key: &str) -> &'a [Json] {
    plan.get(key).and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

fn images(left: &Json, right: &Json) -> Vec<Difference> {
    let by_reference = |plan: &'_ Json| -> BTreeMap<String, Json> {
        let reference = |image: &Json| image.get("reference")?.as_str().map(str::to_owned);
        list(plan, "images").iter().filter_map(|image| Some((reference(image)?, image.clone()))).collect()
    };
    let (lefts, rights) = (by_reference(left), by_reference(right));
    let digest =
        |image: &Json| Value::Text(image.get("digest").and_then(Json::as_str).unwrap_or_default().to_owned());
    let names: BTreeSet<&String> = lefts.keys().chain(rights.keys()).collect();
    let mut differences = Vec::new();
    for name in names {
        differences.push(match (lefts.get(name), rights.get(name)) {
            (Some(one), Some(other)) if one == other => continue,
            (Some(one), Some(other)) => {
                let changed = Difference::new(Change::Changed, "image", name);
                if digest(one) != digest(other) {
                    changed.between(Some(digest(one)), Some(digest(other)))
                } else {
                    changed.with(fields(one, other))
                }
            }
            (Some(one), None) => {
                Difference::new(Change::Removed, "image", name).between(Some(digest(one)), None)
            }
            (None, other) => Difference::new(Change::Added, "image", name).between(None, other.map(digest)),
        });
    }
    differences
}

/// The steps in their order, each told by what it does; the layers that they need are told as layers.
fn plan_steps(left: &Json, right: &Json) -> Vec<Difference> {
    let (lefts, rights) = (list(left, "steps"), list(right, "steps"));
    let titles = |steps: &[Json]| steps.iter().map(title).collect::<Vec<String>>();
    let (left_titles, right_titles) = (titles(lefts), titles(rights));
    let mut differences = Vec::new();
    for step in steps(&left_titles, &right_titles) {
        match step {
            Step::Left(at) if right_titles.contains(&left_titles[at]) => {
                let to = right_titles.iter().position(|title| *title == left_titles[at]).unwrap_or_default();
                let place = |at: usize| Some(Value::Position { position: at + 1 });
                let moved = Difference::new(Change::Moved, "step", left_titles[at].clone());
                differences.push(moved.between(place(at), place(to)));
            }
            Step::Left(at) => {
                differences.push(Difference::new(Change::Removed, "step", left_titles[at].clone()));
            }
            Step::Right(at) if left_titles.contains(&right_titles[at]) => {}
            Step::Right(at) => {
                differences.push(Difference::new(Change::Added, "step", right_titles[at].clone()));
            }
            Step::Both(one, other) => {
                let without_layer = |step: &Json| without(step, &["layer"]);
                let parts = fields(&without_layer(&lefts[one]), &without_layer(&rights[other]));
                differences.extend(Difference::group("step", left_titles[one].clone(), parts));
            }
        }
    }
    differences
}

fn title(step: &Json) -> String {
    let said = |key: &str| step.get(key).and_then(Json::as_str);
    match (said("apply"), said("wait"), said("run")) {
        (Some(name), ..) => format!("apply {} {name}", said("kind").unwrap_or_default()),
        (None, Some(name), _) => format!("wait {name}"),
        (None, None, Some(command)) if holds_secret(command) => format!("run {HIDDEN}"),
        (None, None, Some(command)) => format!("run {command}"),
        (None, None, None) => "something unknown".to_owned(),
    }
}
