"""Former home of these names."""
from .rundir import student_name, teacher_name

__all__ = ["student_name", "teacher_name"]
