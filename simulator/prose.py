"""The sentences that simulated models are made of."""

from typing import Final

ENGLISH: Final[tuple[str, ...]] = (
    "The short answer is that it depends on how the load is spread over the day.",
    "A model that stays in memory answers in seconds, a model that has to be fetched first takes minutes.",
    "Most of the work is reading the prompt, the rest is saying the answer one token at a time.",
    "Put the part that never changes first, so that it needs to be read only once.",
    "Light of short wavelengths is scattered more than light of long ones, which is why the sky looks blue.",
    "The river rises in the hills, crosses the plain, and reaches the sea after nine hundred miles.",
    "Begin with the smallest case that can fail, and write down what you expect to see.",
    "There are three things to weigh: how much it costs, how long it takes, and who has to wait.",
    "The second paragraph repeats the first, so it can go without loss.",
    "In the contract the buyer carries the risk from the moment of loading.",
    "Water boils at a lower temperature in the mountains, because the air presses less on it.",
    "The report names no cause, but the figures point to a change made on the Monday before.",
    "A good summary keeps the names, the numbers and the decision.",
    "It is worth asking first whether the question has to be answered at all.",
    "The committee met twice and agreed on a budget, a date and a place.",
    "Every second customer who wrote wanted a refund, the others wanted an apology.",
)
CHINESE: Final[tuple[str, ...]] = (
    "简单来说，这取决于一天之中负载是如何分布的。",
    "常驻内存的模型几秒就能回答，需要先加载的模型则要等上几分钟。",
    "把不变的部分放在最前面，这样只需要读一遍。",
    "短波长的光比长波长的光更容易被散射，所以天空看起来是蓝色的。",
    "人工智能是研究如何让机器完成需要智能的任务的学科。",
    "这条河发源于山区，流经平原，最后汇入大海。",
    "好的摘要应当保留姓名、数字和结论。",
    "委员会开了两次会，确定了预算、日期和地点。",
    "应当先问一问，这个问题是否真的需要回答。",
    "报告没有说明原因，但数据指向了上周一的改动。",
)
ENGLISH_THOUGHTS: Final[tuple[str, ...]] = (
    "Okay, the user wants a clear answer, so let me go through it step by step.",
    "First I should look at what is given and what is asked.",
    "Wait, there are two ways to read this question.",
    "The simpler reading fits better, so I will take that one.",
    "I should keep the answer short and name the reason.",
    "Let me check that against an example.",
)
CHINESE_THOUGHTS: Final[tuple[str, ...]] = (
    "好的，用户想要一个清楚的回答，我来一步一步地想。",
    "首先看看已知什么，要问的是什么。",
    "等等，这个问题有两种理解。",
    "第一种理解更合理，就按它来回答。",
    "回答要简短，并且说明理由。",
)
