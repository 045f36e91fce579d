//! Order statistics of samples.

/// Middle of the sorted samples; NaN if there are none.
pub fn median(samples: &[f64]) -> f64 {
    let sorted = sorted(samples);
    let n = sorted.len();
    match n {
        0 => f64::NAN,
        _ if n % 2 == 1 => sorted[n / 2],
        _ => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// Smallest sample that at least `percent` of all do not exceed; NaN if there are none.
pub fn percentile(samples: &[f64], percent: usize) -> f64 {
    let sorted = sorted(samples);
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}

/// Median of the ratios of samples taken in the same round. Drift of the machine between rounds cancels out.
pub fn paired_ratio(of: &[f64], to: &[f64]) -> f64 {
    let ratios: Vec<f64> = of.iter().zip(to).map(|(a, b)| a / b).collect();
    median(&ratios)
}

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two_middles() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_percentile_is_a_sample_and_the_hundredth_the_largest() {
        let samples: Vec<f64> = (1..=200).map(f64::from).collect();
        assert!((percentile(&samples, 99) - 198.0).abs() < 1e-9);
        assert!((percentile(&samples, 100) - 200.0).abs() < 1e-9);
        assert!((percentile(&[7.0], 99) - 7.0).abs() < 1e-9);
        assert!(percentile(&[], 99).is_nan());
    }

    #[test]
    fn drift_between_rounds_does_not_move_a_paired_ratio() {
        assert!((paired_ratio(&[10.0, 20.0, 40.0], &[5.0, 10.0, 20.0]) - 2.0).abs() < 1e-9);
    }
}
