"""Reading text as people have it: files of many formats and encodings become documents, with an account of the rest.

    files           which files of a folder are text, and why the others are left out
    contents        a file's bytes, unpacked, as text
    json_values     JSON as people have it, with NaN and halves of emoji
    tables          the records of a file, whatever its format
    records         a record by its keys: a text, a prompt with its answer, a conversation
    messages        messages as chat templates take them
    marks           the answers that a chat template marks
    conversations   a conversation by the tokenizer's chat template, and which part of it are answers
    account         what was read, left out and mended
    corpus          all of it in one pass over a path

Text is private: it is never logged and never sent. Nothing here loads torch.
"""
