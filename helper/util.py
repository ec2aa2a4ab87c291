"""Former home of these names."""
from .errors import Interrupted, UserError, guard, near
from .recipe import learning_rate_at

__all__ = ["Interrupted", "UserError", "guard", "learning_rate_at", "near"]
