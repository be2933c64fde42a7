"""Tokenizers with other chat templates, in the forms that models are published with."""

from __future__ import annotations

import copy
from typing import Any, Final

CHATML: Final = (
    "{% for m in messages %}{{ '<|end|>' + m['role'] + '\\n' + (m['content'] | trim) + '<|end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|end|>assistant\\n' }}{% endif %}"
)
"""Answers can be told by rendering what stands before them."""

NO_SYSTEM: Final = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}"
)
SILENT_SYSTEM: Final = (
    "{% for m in messages %}{% if m['role'] != 'system' %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endif %}"
    "{% endfor %}"
)
NO_TOOLS: Final = (
    "{% for m in messages %}{% if m['role'] not in ('user', 'assistant') %}"
    "{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}"
    "{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}"
)
FORGETFUL: Final = (
    "{% for m in messages %}{{ m['role'] + ':\\n' }}"
    "{% if m['role'] == 'assistant' and loop.last %}{{ '<think>\\n\\n</think>\\n' }}{% endif %}"
    "{{ m['content'] + '<|end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:\\n<think>\\n' }}{% endif %}"
)
"""Writes the last answer differently from earlier ones, as templates of reasoning models do."""

TOOLS: Final = (
    "{% if tools %}{{ 'tools: ' + (tools | tojson) + '\\n' }}{% endif %}"
    "{% for m in messages %}{{ m['role'] + ': ' + (m['content'] or '') }}"
    "{% for call in m['tool_calls'] or [] %}"
    "{{ 'call ' + call['function']['name'] + (call['function']['arguments'] | tojson) }}"
    "{% endfor %}{{ '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
MARKED_LINES: Final = """
{%- for m in messages %}
  {%- if m['role'] == 'assistant' %}
    {{- 'bot>' }}
    {%- generation %}
      {{- m['content'] + '.' }}
    {%- endgeneration %}
  {%- else %}
    {{- m['role'] + '>' + m['content'] + '\\n' }}
  {%- endif %}
{%- endfor %}
"""
MARKED_BLOCKS: Final = """{% for m in messages %}
{% if m['role'] == 'assistant' %}
bot>{% generation %}
{{ m['content'] }}.
    {% endgeneration %}

{% else %}
{{ m['role'] + '>' + m['content'] }}
{% endif %}
{% endfor %}"""
MARKED: Final = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ 'bot>' }}"
    "{% generation %}{{ m['content'] + '.' }}{% endgeneration %}"
    "{% else %}{{ m['role'] + '>' + m['content'] + '\\n' }}{% endif %}{% endfor %}"
)


def with_template(tokenizer: Any, template: str | None) -> Any:
    """A copy of the tokenizer with another chat template, or with none."""
    other = copy.deepcopy(tokenizer)
    other.chat_template = template
    return other
