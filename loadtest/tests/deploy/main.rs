//! The deployment as an administrator meets it: the chart and the manifests flow in, real Helm, real kubectl and the schemas of
//! Kubernetes judge them. Tools come from `scripts/deploy-tools`; without them these tests fail and say so.

#![allow(clippy::unwrap_used)]

mod apply;
mod chart;
mod documents;
mod objects;
mod tools;
mod validation;
