"""A real Prometheus beside a real Tastestream under load: what its queries, rules and alerts say."""
