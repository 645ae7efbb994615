"""Planning in learned world models over long horizons."""
