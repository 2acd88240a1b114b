/**
 * Numbers as people read them.
 */

/** 1.23 M, 45.6 k, 789. */
export const shortNumber = (value: number): string => {
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} M`
  if (value >= 1e4) return `${(value / 1e3).toFixed(0)} k`
  if (value >= 1e3) return `${(value / 1e3).toFixed(1)} k`
  return value >= 10 ? value.toFixed(0) : value.toFixed(2)
}
