"""Measures: functions over arrays, in float64 where it decides. They know no model and no data set."""
