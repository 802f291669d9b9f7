//! What a row of samples says: values flow in, quantiles flow out. Pure.

/// Samples in order of size.
#[derive(Clone, Debug)]
pub(in crate::bench) struct Samples(Vec<f64>);

impl Samples {
    pub(in crate::bench) fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    pub(in crate::bench) fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest value that is not less than `share` of all; 0 when there is none.
    pub(in crate::bench) fn quantile(&self, share: f64) -> f64 {
        let place = ((self.0.len() as f64 * share).ceil() as usize).clamp(1, self.0.len().max(1)) - 1;
        self.0.get(place).copied().unwrap_or_default()
    }

    pub(in crate::bench) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(in crate::bench) fn least(&self) -> f64 {
        self.quantile(0.0)
    }

    pub(in crate::bench) fn most(&self) -> f64 {
        self.quantile(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples_that_were_taken() {
        let samples = Samples::new((1..=100).rev().map(f64::from).collect());
        assert_eq!(
            (samples.least(), samples.median(), samples.quantile(0.99), samples.most()),
            (1.0, 50.0, 99.0, 100.0)
        );
        assert_eq!(Samples::new(vec![7.0]).quantile(0.99), 7.0);
        assert_eq!(Samples::new(Vec::new()).median(), 0.0);
    }
}
