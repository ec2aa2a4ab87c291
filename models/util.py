"""The connectors of distiller_zoo under the place RepDistiller keeps them in."""
from distiller_zoo.connectors import Connector, ConvReg, Embed, LinearEmbed, Normalize, Paraphraser, Translator

__all__ = ["Connector", "ConvReg", "Embed", "LinearEmbed", "Normalize", "Paraphraser", "Translator"]
