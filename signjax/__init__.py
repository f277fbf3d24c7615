"""signjax: sign-language digits in JAX and Flax linen."""
